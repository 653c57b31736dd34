'use strict';
// Text of the cluster and of clients is only ever set as text, never as markup.
const id = (name) => document.getElementById(name);
const KEPT = 120;
const SHOWN_ROUTES = 200;
const lines = {};
let last = null;
let state = null;

function number(value) {
  if (!isFinite(value)) return '–';
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value.toFixed(value >= 10 ? 1 : 2).replace(/\.?0+$/, '');
}
const percent = (share) => isFinite(share) ? number(share * 100) + ' %' : '–';
function seconds(value) {
  if (!isFinite(value)) return '–';
  return value < 1 ? number(value * 1000) + ' ms' : number(value) + ' s';
}
function bytes(value) {
  return value ? number(value / 1048576) + ' MiB' : '–';
}

// The cells of a row: a text, or a text with a class.
function rows(body, all) {
  const parts = all.map((cells) => {
    const row = document.createElement('tr');
    for (const cell of cells) {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ''];
      const td = document.createElement('td');
      td.textContent = text;
      if (kind) td.className = kind;
      row.append(td);
    }
    return row;
  });
  id(body).replaceChildren(...parts);
}

function line(name, value) {
  const points = lines[name] || (lines[name] = []);
  points.push(isFinite(value) ? value : 0);
  if (points.length > KEPT) points.shift();
  const most = Math.max(...points, 1e-9);
  const at = (point, index) => `${(index / (KEPT - 1)) * 100},${38 - (point / most) * 36}`;
  const svg = id(name);
  let shape = svg.firstElementChild;
  if (!shape) {
    svg.setAttribute('viewBox', '0 0 100 40');
    svg.setAttribute('preserveAspectRatio', 'none');
    shape = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
    svg.append(shape);
  }
  shape.setAttribute('points', points.map(at).join(' '));
}

// The value below which a share of the values between two events lies, by the upper bounds of the buckets.
function quantile(before, now, share) {
  before = before || { count: 0, buckets: [] };
  const count = now.count - before.count;
  if (count <= 0) return NaN;
  let below = 0;
  let low = 0;
  for (const [index, [bound, total]] of now.buckets.entries()) {
    const earlier = before.buckets[index] ? before.buckets[index][1] : 0;
    const here = total - earlier;
    if (here >= share * count) {
      const inside = here - below;
      return inside > 0 ? low + (bound - low) * (share * count - below) / inside : bound;
    }
    [below, low] = [here, bound];
  }
  return low;
}

const quantiles = (before, now) => [0.5, 0.99].map((share) => [seconds(quantile(before, now, share)), 'number']);

// Rates of rows of the form [labels, all, failed, duration].
function rates(before, now, time) {
  const known = new Map(before.map(([labels, ...counts]) => [labels.join('\n'), counts]));
  return now.map(([labels, all, failed, duration]) => {
    const [was, wasFailed, earlier] = known.get(labels.join('\n')) || [0, 0, null];
    const times = quantiles(earlier, duration);
    return { labels, rate: (all - was) / time, failed: (failed - wasFailed) / time, total: all, times };
  });
}

function upstreams(before, now, time) {
  id('upstreams-section').hidden = now.length === 0;
  const known = new Map(before.map(([to, ...counts]) => [to, counts]));
  rows('upstreams', now.map(([to, replies, failed, duration]) => {
    const [was, wasFailed, earlier] = known.get(to) || [0, 0, null];
    const health = failed > wasFailed ? ['failing', 'bad'] : failed ? [`${failed} failed since the start`, 'warn'] : ['ok', 'good'];
    return [to, [number((replies - was) / time), 'number'], ...quantiles(earlier, duration), health];
  }));
}

function names(found) {
  id('names-section').hidden = found.length === 0;
  rows('names', found.map(([name, type, share]) => [name, type, [percent(share), 'number']]));
}

function sums(before, now, time, body) {
  const all = Object.keys(now).map((key) => [key || '(none)', (now[key] - (before[key] || 0)) / time]);
  all.sort((one, other) => other[1] - one[1]);
  rows(body, all.map(([key, rate]) => [key, [number(rate), 'number']]));
}

function show(now) {
  const before = last;
  last = now;
  if (!before) return;
  const time = now.at - before.at;
  if (time <= 0) return;
  const requests = (now.http.total - before.http.total) / time;
  id('http-rate').textContent = number(requests);
  id('http-note').textContent = `a second; ${now.http.total.toLocaleString('en')} since the start`;
  line('http-line', requests);
  const failed = ((now.http.status['5'] || 0) - (before.http.status['5'] || 0)) / time;
  const share = requests > 0 ? failed / requests : 0;
  id('error-rate').textContent = percent(share);
  id('error-rate').className = share > 0.01 ? 'value bad' : 'value';
  line('error-line', share);
  const [p50, p99] = [0.5, 0.99].map((point) => quantile(before.http.duration, now.http.duration, point));
  id('http-p50').textContent = seconds(p50);
  id('http-p99').textContent = `p50; p99 ${seconds(p99)}`;
  line('p99-line', p99);
  const queries = (now.dns.total - before.dns.total) / time;
  id('dns-rate').textContent = number(queries);
  id('dns-note').textContent = `a second; ${now.dns.total.toLocaleString('en')} since the start`;
  line('dns-line', queries);
  const cpu = (now.process.cpu - before.process.cpu) / time;
  id('cpu').textContent = percent(cpu);
  id('memory').textContent = `of a core; memory ${bytes(now.process.memory)}`;
  line('cpu-line', cpu);
  sums(before.dns.rcode, now.dns.rcode, time, 'rcodes');
  sums(before.dns.plugin, now.dns.plugin, time, 'plugins');
  const hits = now.dns.cacheHits - before.dns.cacheHits;
  const misses = now.dns.cacheMisses - before.dns.cacheMisses;
  const ratio = hits + misses > 0 ? `, ${percent(hits / (hits + misses))} of lookups found` : '';
  id('cache').textContent = `Cache: ${now.dns.cacheEntries.toLocaleString('en')} entries${ratio}`;
  upstreams(before.dns.upstreams, now.dns.upstreams, time);
  names(now.dns.names);
  const hosts = rates(before.http.hosts, now.http.hosts, time);
  hosts.sort((one, other) => other.rate - one.rate || other.total - one.total);
  rows('hosts', hosts.slice(0, 15).map(({ labels: [host, ingress], rate, failed, times }) => [
    host || '(no host)', ingress || '–', [number(rate), 'number'],
    [rate > 0 ? percent(failed / rate) : '–', failed > 0 ? 'number bad' : 'number'], ...times,
  ]));
  canaries(now);
}

// The share of requests that each canary has had since the start, beside its weight.
function canaries(now) {
  const routes = state && state.ingress ? state.ingress.routes.shown.filter((route) => route.canary) : [];
  id('canaries-section').hidden = routes.length === 0;
  const of = (ingress) => now.http.canary.filter(([labels]) => labels[0] === ingress);
  rows('canaries', routes.map((route) => {
    const { service, weight, total } = route.canary;
    const counted = of(route.ingress);
    const all = counted.reduce((sum, row) => sum + row[1], 0);
    const canary = counted.filter(([labels]) => labels[1] === service).reduce((sum, row) => sum + row[1], 0);
    return [
      route.ingress, route.host + route.path, `${route.canary.ingress} (${service})`,
      [percent(weight / total), 'number'], [all ? `${percent(canary / all)} of ${all.toLocaleString('en')}` : '–', 'number'],
    ];
  }));
}

function showRoutes() {
  if (!state || !state.ingress) return;
  const { total, shown } = state.ingress.routes;
  const wanted = id('search').value.trim().toLowerCase();
  const text = (route) => [route.host, route.path, route.ingress, route.service, ...(route.endpoints || [])].join(' ').toLowerCase();
  const found = wanted ? shown.filter((route) => text(route).includes(wanted)) : shown;
  id('routes-note').textContent = `${found.length} of ${total} routes` +
    (found.length > SHOWN_ROUTES ? `, the first ${SHOWN_ROUTES} are shown` : '');
  rows('routes', found.slice(0, SHOWN_ROUTES).map((route) => {
    const endpoints = route.endpoints || [];
    const state = route.closed ? [`closed: ${route.closed}`, 'bad']
      : endpoints.length ? [endpoints.join(', '), ''] : ['none ready: 503', 'bad'];
    return [route.host === '_' ? 'every other host' : route.host, `${route.path} (${route.kind})`, route.ingress, route.service || '–', state];
  }));
}

function showState() {
  const up = Math.round(Date.now() / 1000 - state.started);
  const role = !last || last.leader === null ? '' : last.leader ? 'leader' : 'not the leader';
  const parts = [`version ${state.version}`, state.pod && `Pod ${state.pod}`, role, `up for ${duration(up)}`];
  id('about').textContent = parts.filter(Boolean).join(' · ');
  const items = state.problems.shown.map(({ severity, text }) => {
    const item = document.createElement('li');
    item.textContent = text;
    if (severity) item.className = severity;
    return item;
  });
  if (!items.length) {
    const item = document.createElement('li');
    item.textContent = 'none';
    items.push(item);
  } else if (state.problems.total > items.length) {
    const item = document.createElement('li');
    item.textContent = `and ${state.problems.total - items.length} more`;
    items.push(item);
  }
  id('problems').replaceChildren(...items);
  for (const name of ['hosts', 'explain', 'routes', 'certificates', 'sources']) id(`${name}-section`).hidden = !state.ingress;
  if (!state.ingress) return;
  id('certificates-section').hidden = state.ingress.certificates.length === 0;
  const now = Date.now() / 1000;
  rows('certificates', state.ingress.certificates.map(({ host, secret, expires }) => {
    const days = Math.floor((expires - now) / 86400);
    const kind = days < 7 ? 'bad' : days < 21 ? 'warn' : '';
    const when = new Date(expires * 1000).toISOString().slice(0, 10);
    return [host, secret, [days < 0 ? `${when}, expired` : `${when}, in ${days} days`, kind]];
  }));
  rows('sources', state.ingress.sources.map(({ kind, status, objects }) => [
    kind, [status, status === 'synced' ? 'good' : 'warn'], [objects.toLocaleString('en'), 'number'],
  ]));
  showRoutes();
}

function duration(all) {
  const days = Math.floor(all / 86400);
  const hours = Math.floor(all / 3600) % 24;
  const minutes = Math.floor(all / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${all} s`;
}

async function loadState() {
  try {
    const response = await fetch('/live/state');
    if (response.ok) {
      state = await response.json();
      showState();
    }
  } catch {
    // The stream of events says that the connection is lost.
  }
}

// A state of many routes takes long to make, so that it is asked for less often: a page stays below a hundredth of a core up to states that take 0.6 s.
async function followState() {
  await loadState();
  const pause = state ? Math.min(Math.max(5, 250 * state.took), 60) : 5;
  setTimeout(followState, 1000 * pause);
}

function tree({ text, parts }) {
  const item = document.createElement('li');
  item.textContent = text;
  if (parts) {
    const list = document.createElement('ul');
    list.append(...parts.map(tree));
    item.append(list);
  }
  return item;
}

async function explain(event) {
  event.preventDefault();
  const query = new URLSearchParams();
  for (const name of ['url', 'method', 'header', 'from']) query.set(name, id(`explain-${name}`).value);
  const into = id('explained');
  try {
    const response = await fetch('/live/explain?' + query);
    if (!response.ok) {
      into.textContent = await response.text();
      return;
    }
    const list = document.createElement('ul');
    list.append(tree(await response.json()));
    into.replaceChildren(list);
  } catch (error) {
    into.textContent = `no answer: ${error}`;
  }
}

id('search').addEventListener('input', showRoutes);
id('explain').addEventListener('submit', explain);

function connect() {
  const events = new EventSource('/live/events');
  events.onmessage = (event) => {
    id('connection').textContent = 'live';
    show(JSON.parse(event.data));
  };
  events.onerror = () => {
    id('connection').textContent = 'connection lost, trying again …';
    // After a response other than 200, such as 503 beyond the limit of streams, the browser itself does not try again.
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

connect();
followState();

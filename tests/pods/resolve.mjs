// Prints one line per name, as resolve.c does: IPv4 addresses, or for names that begin with `_` SRV records. With `c-ares` before the
// names they are looked up with Node's own resolver, which applies no search domains; with `libc` the C library looks up addresses.
import dns from 'node:dns/promises';

const [resolver, ...names] = process.argv.slice(2);

async function records(name) {
  if (resolver === 'libc') {
    return (await dns.lookup(name, { family: 4, all: true })).map(({ address }) => address);
  }
  if (!name.startsWith('_')) {
    return dns.resolve4(name);
  }
  const services = await dns.resolveSrv(name);
  return services.map(({ priority, weight, port, name }) => `${priority},${weight},${port},${name}.`);
}

for (const name of names) {
  try {
    console.log(`${name} = ${[...new Set(await records(name))].sort().join(' ')}`);
  } catch (error) {
    console.log(`${name} = ${error.code === 'ENOTFOUND' ? 'not found' : error.code}`);
  }
}

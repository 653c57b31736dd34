package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How long one lookup or request may take before it counts as lost. A lookup is one packet: there is no second try.
const patience = 5 * time.Second

// Number of problems that a report spells out.
const shown = 10

// A report counts the lookups or requests of one series.
type report struct {
	Sent     int           `json:"sent"`
	Right    int           `json:"right"`
	Wrong    int           `json:"wrong"`
	Lost     int           `json:"lost"`
	Problems []string      `json:"problems"`
	Slowest  time.Duration `json:"slowest"`
}

// A series sends one lookup or request per interval until it is stopped.
type series struct {
	mutex  sync.Mutex
	report report
	stop   chan struct{}
	done   sync.WaitGroup
}

// errWrong marks a reply with other content than expected.
var errWrong = errors.New("wrong")

// measure serves POST /start and POST /stop?id=N on port 8080. A start has the parameters `interval` and either `lookup` (a fully
// qualified name), `expect` (an address) and `server`, or `url`, `host` and `expect` (a part of the body).
func measure() {
	var mutex sync.Mutex
	running := map[string]*series{}
	http.HandleFunc("POST /start", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		interval, err := time.ParseDuration(query.Get("interval"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		once := func() error { return lookup(query.Get("server"), query.Get("lookup"), query.Get("expect")) }
		if query.Has("url") {
			once = func() error { return request(query.Get("url"), query.Get("host"), query.Get("expect")) }
		}
		mutex.Lock()
		defer mutex.Unlock()
		id := fmt.Sprint(len(running))
		running[id] = start(interval, once)
		fmt.Fprint(w, id)
	})
	http.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		found := running[r.URL.Query().Get("id")]
		mutex.Unlock()
		if found == nil {
			http.Error(w, "no such series", http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(found.end())
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func start(interval time.Duration, once func() error) *series {
	s := &series{stop: make(chan struct{})}
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-ticker.C:
				s.done.Add(1)
				go func() {
					defer s.done.Done()
					began := time.Now()
					s.count(once(), began)
				}()
			}
		}
	}()
	return s
}

func (s *series) count(err error, began time.Time) {
	took := time.Since(began)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.report.Sent++
	s.report.Slowest = max(s.report.Slowest, took)
	switch {
	case err == nil:
		s.report.Right++
		return
	case errors.Is(err, errWrong):
		s.report.Wrong++
	default:
		s.report.Lost++
	}
	if len(s.report.Problems) < shown {
		s.report.Problems = append(s.report.Problems, fmt.Sprintf("%s %v", began.UTC().Format("15:04:05.000"), err))
	}
}

func (s *series) end() report {
	close(s.stop)
	s.done.Wait()
	return s.report
}

// Source ports are taken in turn. A port chosen by the kernel may be one of the last seconds, and kube-proxy's entry for its flow
// (conntrack) may still lead to a Pod that has ended by now: a loss that says nothing about the server under test.
var nextPort atomic.Uint32

const (
	firstPort = 10000
	ports     = 50000
)

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	port := int(firstPort + nextPort.Add(1)%ports)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}}
	if network == "udp" {
		dialer.LocalAddr = &net.UDPAddr{Port: port}
	}
	return dialer.DialContext(ctx, network, address)
}

// request sends one GET over a connection of its own, so that every request takes the whole way.
func request(url, host, expect string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Host = host
	transport := &http.Transport{DisableKeepAlives: true, DialContext: dial}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), expect) {
		return fmt.Errorf("%w: %s %q", errWrong, response.Status, body[:min(len(body), 100)])
	}
	return nil
}

// lookup sends one query for an A record from a socket of its own. `expect` has to be among the addresses of the reply.
func lookup(server, name, expect string) error {
	connection, err := dial(context.Background(), "udp", server)
	if err != nil {
		return err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience))
	query := question(name)
	if _, err := connection.Write(query); err != nil {
		return err
	}
	reply := make([]byte, 4096)
	length, err := connection.Read(reply)
	if err != nil {
		return err
	}
	reply = reply[:length]
	switch {
	case length < len(query) || reply[0] != query[0] || reply[1] != query[1]:
		return fmt.Errorf("%w: not a reply to the query", errWrong)
	case reply[3]&0x0f != 0:
		return fmt.Errorf("%w: response code %d", errWrong, reply[3]&0x0f)
	// The record's data: type A, class IN, any TTL, and four bytes of address.
	case !strings.Contains(string(reply[len(query):]), "\x00\x04"+string(net.ParseIP(expect).To4())):
		return fmt.Errorf("%w: %s is not in the answer", errWrong, expect)
	}
	return nil
}

// question is a query message (RFC 1035 section 4.1) for the A records of a name.
func question(name string) []byte {
	packet := binary.BigEndian.AppendUint16(nil, uint16(rand.Uint32()))
	packet = append(packet, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		packet = append(append(packet, byte(len(label))), label...)
	}
	return append(packet, 0, 0, 1, 0, 1)
}

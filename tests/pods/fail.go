package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Requests for failingHost that are answered before the controller fails: more than the checks of a Pod that no client reaches yet.
const answered = 50

// The host whose requests fail. All others are answered.
const failingHost = "stock.example"

// The port of ingress-nginx's health page.
const healthPort = ":10254"

// fail stands for an ingress controller that is ready and answers as the backend does, but after a while 503 for one of its hosts. It
// listens on the port of --http-port.
func fail(arguments []string) {
	address := ":80"
	for _, argument := range arguments {
		if port, ok := strings.CutPrefix(argument, "--http-port="); ok {
			address = ":" + port
		}
	}
	go func() {
		log.Fatal(http.ListenAndServe(healthPort, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "ok")
		})))
	}()
	go func() {
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		<-ended
		time.Sleep(farewell)
		os.Exit(0)
	}()
	var requests atomic.Int64
	log.Fatal(http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host == failingHost && requests.Add(1) > answered:
			http.Error(w, "failed", http.StatusServiceUnavailable)
		case strings.HasSuffix(r.Host, ".invalid"):
			// RFC 6761: no Ingress has such a host.
			http.NotFound(w, r)
		default:
			fmt.Fprintf(w, "%s %s%s by the new controller\n", r.Method, r.Host, r.URL.Path)
		}
	})))
}

package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// How long the server goes on after SIGTERM: the time until the proxies have heard of it, like a preStop hook with sleep.
const farewell = 3 * time.Second

// serve is a backend on port 8080. It answers with the name of its Pod, after ?wait=DURATION; /echo is a WebSocket.
func serve() {
	name, _ := os.Hostname()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
			time.Sleep(wait)
		}
		w.Header().Set("X-Pod", name)
		fmt.Fprintf(w, "%s %s%s by %s\n", r.Method, r.Host, r.URL.Path, name)
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		_ = r.Header.Write(w)
	})
	mux.HandleFunc("/echo", echo)
	server := &http.Server{Addr: ":8080", Handler: mux}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		time.Sleep(farewell)
		os.Exit(0)
	}()
	log.Fatal(server.ListenAndServe())
}

// echo completes the WebSocket handshake (RFC 6455 section 4.2.2) and sends back every byte of every masked frame, unmasked.
func echo(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		http.Error(w, "a WebSocket handshake is wanted", http.StatusUpgradeRequired)
		return
	}
	connection, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer connection.Close()
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(buffer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
	for buffer.Flush() == nil {
		if echoFrame(buffer) != nil {
			return
		}
	}
}

// echoFrame reads one masked frame of fewer than 126 bytes and writes it unmasked.
func echoFrame(buffer *bufio.ReadWriter) error {
	head := make([]byte, 6)
	if _, err := io.ReadFull(buffer, head); err != nil {
		return err
	}
	payload := make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(buffer, payload); err != nil {
		return err
	}
	for at := range payload {
		payload[at] ^= head[2+at%4]
	}
	_, err := buffer.Write(append([]byte{head[0], byte(len(payload))}, payload...))
	return err
}

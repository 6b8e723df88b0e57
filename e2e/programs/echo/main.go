// An HTTP server that returns its name and fails on request, and its client, both without TLS.
package main

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	log.SetFlags(log.LUTC | log.Lmicroseconds)
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		log.Fatal(serve(os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "get":
		get(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "load":
		count, err := strconv.Atoi(os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		concurrency, err := strconv.Atoi(os.Args[4])
		if err != nil {
			log.Fatal(err)
		}
		load(os.Args[2], count, concurrency)
	default:
		log.Fatal("echo serve ADDRESS | get URL | load URL COUNT CONCURRENCY")
	}
}

// serve answers each request with a line about the server and the request. A request to /control changes later
// responses.
func serve(address string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	name := cmp.Or(os.Getenv("NAME"), host)
	var failEvery, delay, served atomic.Int64
	var unhealthy atomic.Bool
	http.HandleFunc("/control", func(answer http.ResponseWriter, request *http.Request) {
		for key, value := range map[string]*atomic.Int64{"failEvery": &failEvery, "delay": &delay, "served": &served} {
			if text := request.FormValue(key); text != "" {
				number, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					http.Error(answer, err.Error(), http.StatusBadRequest)
					return
				}
				value.Store(number)
			}
		}
		if text := request.FormValue("unhealthy"); text != "" {
			unhealthy.Store(text == "true")
		}
		fmt.Fprintf(answer, "served=%d\n", served.Load())
	})
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, _ *http.Request) {
		if unhealthy.Load() {
			answer.WriteHeader(http.StatusInternalServerError)
		}
	})
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		count := served.Add(1)
		wait := delay.Load()
		if text := request.FormValue("delay"); text != "" {
			wait, _ = strconv.ParseInt(text, 10, 64)
		}
		time.Sleep(time.Duration(wait) * time.Millisecond)
		answer.Header().Set("X-Name", name)
		if every := failEvery.Load(); every > 0 && count%every == 0 {
			answer.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(answer, "name=%s uid=%d peer=%s caller=%s traceparent=%s path=%s\n", name, os.Getuid(),
			request.RemoteAddr, request.Header.Get("X-Forwarded-Client-Cert"), request.Header.Get("Traceparent"),
			request.URL.Path)
	})
	log.Print("listening on ", address)
	return http.ListenAndServe(address, nil)
}

// get prints the response to one request, with status 0 if there is none.
func get(url string) {
	client := http.Client{Timeout: 20 * time.Second}
	started := time.Now()
	answer, err := client.Get(url)
	if err != nil {
		fmt.Printf("status=0 %v\n", err)
		os.Exit(1)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		fmt.Printf("status=0 %v\n", err)
		os.Exit(1)
	}
	fmt.Printf("status=%d ms=%d %s", answer.StatusCode, time.Since(started).Milliseconds(), body)
}

// load sends many requests, some concurrently, and prints the number of responses per status and per name.
func load(url string, count, concurrency int) {
	client := http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: concurrency},
	}
	var lock sync.Mutex
	seen := map[string]int{}
	var took []time.Duration
	left := make(chan struct{})
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for range left {
				started := time.Now()
				status, name := 0, ""
				if answer, err := client.Get(url); err == nil {
					_, _ = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					status, name = answer.StatusCode, answer.Header.Get("X-Name")
				}
				lock.Lock()
				seen[fmt.Sprintf("status=%d", status)]++
				if name != "" {
					seen["name="+name]++
				}
				took = append(took, time.Since(started))
				lock.Unlock()
			}
		})
	}
	for range count {
		left <- struct{}{}
	}
	close(left)
	workers.Wait()
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		fmt.Println(key, seen[key])
	}
	slices.Sort(took)
	fmt.Printf("p50=%.2fms p99=%.2fms\n", took[len(took)/2].Seconds()*1000, took[len(took)*99/100].Seconds()*1000)
}

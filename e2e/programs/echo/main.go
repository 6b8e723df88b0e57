// An HTTP server that says who it is and fails when it is told to, and the client for it, both without TLS.
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
		together, err := strconv.Atoi(os.Args[4])
		if err != nil {
			log.Fatal(err)
		}
		load(os.Args[2], count, together)
	default:
		log.Fatal("echo serve ADDRESS | get URL | load URL COUNT TOGETHER")
	}
}

// serve answers every request with a line about itself and the request; /control changes how it answers from then on.
func serve(address string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	name := cmp.Or(os.Getenv("NAME"), host)
	var failEvery, delay, served atomic.Int64
	var sick atomic.Bool
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
		if text := request.FormValue("sick"); text != "" {
			sick.Store(text == "true")
		}
		fmt.Fprintf(answer, "served=%d\n", served.Load())
	})
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
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
	log.Print("serves on ", address)
	return http.ListenAndServe(address, nil)
}

// get prints the answer to one request; what cannot be answered is status 0.
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

// load sends many requests, some at the same time, and prints how often each status and each name came.
func load(url string, count, together int) {
	client := http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: together},
	}
	var lock sync.Mutex
	seen := map[string]int{}
	var took []time.Duration
	left := make(chan struct{})
	var workers sync.WaitGroup
	for range together {
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

// A mutating webhook that removes or changes the first init container of every pod, as other webhooks of a cluster
// might do after an injection. At /record, it changes nothing and prints the object of each review.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net/http"
	"os"
	"time"
)

const (
	remove       = `[{"op": "remove", "path": "/spec/initContainers/0"}]`
	replaceImage = `[{"op": "replace", "path": "/spec/initContainers/0/image", "value": "mirror.example/redis:7.0"}]`
	addVariable  = `[{"op": "add", "path": "/spec/initContainers/0/env", "value": [{"name": "AGENT_HOST", "value": "10.0.0.1"}]}]`
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("meddler ADDRESS DNS-NAME")
	}
	certificate, authority, err := certificate(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/record", record)
	http.HandleFunc("/remove", answer(remove))
	http.HandleFunc("/replace-image", answer(replaceImage))
	http.HandleFunc("/add-variable", answer(addVariable))
	server := http.Server{Addr: os.Args[1], TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	fmt.Println(base64.StdEncoding.EncodeToString(authority))
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func record(answer http.ResponseWriter, request *http.Request) {
	var review struct {
		Request struct {
			UID    string          `json:"uid"`
			Object json.RawMessage `json:"object"`
		} `json:"request"`
	}
	if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	var line bytes.Buffer
	if err := json.Compact(&line, review.Request.Object); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Println(line.String())
	respond(answer, map[string]any{"uid": review.Request.UID, "allowed": true})
}

func respond(answer http.ResponseWriter, response map[string]any) {
	answer.Header().Set("Content-Type", "application/json")
	json.NewEncoder(answer).Encode(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
	})
}

func answer(patch string) http.HandlerFunc {
	return func(answer http.ResponseWriter, request *http.Request) {
		var review struct {
			Request struct {
				UID    string `json:"uid"`
				Object struct {
					Spec struct {
						InitContainers []any `json:"initContainers"`
					} `json:"spec"`
				} `json:"object"`
			} `json:"request"`
		}
		if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		response := map[string]any{"uid": review.Request.UID, "allowed": true}
		if len(review.Request.Object.Spec.InitContainers) > 0 {
			response["patchType"] = "JSONPatch"
			response["patch"] = base64.StdEncoding.EncodeToString([]byte(patch))
		}
		respond(answer, response)
	}
}

// certificate returns a self-signed certificate, which is also the CA.
func certificate(name string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority, nil
}

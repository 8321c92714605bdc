// Command go is a site that knows people by a tenant's tokens, with the library that its argument
// names. The site is configured as the library's documentation says. The first line of the output
// is the site's origin.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

// registration is what an operator gives a relying party.
type registration struct {
	issuer, clientID, clientSecret string
}

func main() {
	known := registration{os.Getenv("ISSUER"), os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET")}
	if os.Args[1] == "device" {
		if err := device(context.Background(), known, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	sites := map[string]func(context.Context, registration, string) (http.Handler, error){
		"go-oidc": goOIDC, "zitadel": zitadel, "kubernetes": kubernetes,
	}
	site := sites[os.Args[1]]
	if site == nil {
		log.Fatalf("unknown site %q", os.Args[1])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	origin := "http://" + listener.Addr().String()
	handler, err := site(context.Background(), known, origin)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(origin)
	log.Fatal(http.Serve(listener, handler))
}

// show answers with what the library learned.
func show(w http.ResponseWriter, learned map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(learned)
}

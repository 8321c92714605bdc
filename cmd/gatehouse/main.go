// Command gatehouse runs the server and the commands around it.
package main

import (
	"os"

	"github.com/gatehouse-iam/gatehouse/internal/app"
)

func main() {
	os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

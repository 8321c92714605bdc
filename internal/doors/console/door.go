package console

import (
	"context"
	"io/fs"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// The paths of the console below a tenant's base. The app has all others below root.
const (
	root       = "/console/"
	signInPath = "/console/signin"
)

// Deps are what a Door works with. All are required.
type Deps struct {
	DB     *db.DB
	SignIn *signin.Engine
	Files  fs.FS // the built app: Built
}

// Door serves the console. It is safe for concurrent use.
type Door struct {
	Deps
	index *index // nil without a built app
}

// New returns the door. It panics if the built app is not what the package comment says: that is a
// mistake of the build.
func New(d Deps) *Door {
	i, err := readIndex(d.Files)
	if err != nil {
		panic(err)
	}
	return &Door{Deps: d, index: i}
}

// Register adds the console below a tenant's base.
func (d *Door) Register(routes *web.Routes) {
	g := routes.Group(web.Page, nil)
	g.HandleFunc("GET /console", func(w http.ResponseWriter, r *http.Request) {
		seeOther(w, web.SiteOf(r).Local(root))
	})
	g.HandleFunc("GET "+signInPath, d.handle(d.signIn))
	g.HandleFunc("GET "+signin.ConsoleReturn, d.handle(d.finish))
	g.HandleFunc("GET "+root+"{path...}", d.serve)
}

// handle answers with a page for fn's error.
func (d *Door) handle(fn func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := fn(w, r); err != nil {
			refuse(r.Context(), w, r, err)
		}
	}
}

func refuse(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) {
	f := fault.As(err)
	if status := web.Status(f.Kind); status >= http.StatusInternalServerError {
		web.NoteError(ctx, err)
	}
	web.Refuse(w, r, web.Refusal{Status: web.Status(f.Kind), Code: f.Code, Reason: f.Reason})
}

func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

package process

import (
	"archive/zip"
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// Publish publishes files, a Cerbos directory, as the policies of a tenant.
func (o *Operator) Publish(tenant string, files map[string][]byte) error {
	archive, err := Zip(files)
	if err != nil {
		return err
	}
	return o.Send("POST", tenant, "/policies/import?publish=true&reason=test", "application/zip", archive, nil)
}

// Zip returns an archive of files by path.
func Zip(files map[string][]byte) ([]byte, error) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(path)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(files[path]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return archive.Bytes(), err
}

// Decider creates a machine application that may ask a tenant for decisions, and returns it with an
// access token. mode says where principals come from: asserted or directory.
func (o *Operator) Decider(tenant, mode string) (Application, string, error) {
	var created struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	fields := map[string]any{"name": "Decisions " + mode, "type": "machine", "principal_mode": mode,
		"scopes": []string{decideScope}}
	if err := o.Call("POST", tenant, "/applications", fields, &created); err != nil {
		return Application{}, "", err
	}
	app := Application{Issuer: o.server.URL + "/t/" + tenant, ClientID: created.ID, Secret: created.Secret}
	var tokens Tokens
	err := PostForm(http.DefaultClient, app.Issuer+"/oauth2/token", app.ClientID, app.Secret,
		url.Values{"grant_type": {"client_credentials"}, "scope": {decideScope}}, &tokens)
	return app, tokens.AccessToken, err
}

// decideScope is the scope of a token that asks for decisions.
const decideScope = "gatehouse:decide"

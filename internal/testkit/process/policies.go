package process

import (
	"archive/zip"
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// Publish makes files, a Cerbos directory, the policies of a tenant.
func (o *Operator) Publish(tenant string, files map[string][]byte) error {
	archive, err := Zip(files)
	if err != nil {
		return err
	}
	return o.Send("POST", tenant, "/policies/import?publish=true&reason=test", "application/zip", archive, nil)
}

// Zip is an archive of files by path.
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

// Decider makes a machine application of a tenant that may ask for decisions, about principals as
// it asserts them or as the directory knows them, and returns it with an access token.
func (o *Operator) Decider(tenant, mode string) (app Application, token string, err error) {
	var created struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	fields := map[string]any{"name": "Decisions " + mode, "type": "machine", "principal_mode": mode,
		"scopes": []string{DecideScope}}
	if err := o.Call("POST", tenant, "/applications", fields, &created); err != nil {
		return app, "", err
	}
	app = Application{Issuer: o.server.URL + "/t/" + tenant, ClientID: created.ID, Secret: created.Secret}
	var tokens Tokens
	err = PostForm(http.DefaultClient, app.Issuer+"/oauth2/token", app.ClientID, app.Secret,
		url.Values{"grant_type": {"client_credentials"}, "scope": {DecideScope}}, &tokens)
	return app, tokens.AccessToken, err
}

// DecideScope is what a token needs to ask for decisions.
const DecideScope = "gatehouse:decide"

package application

// Claims are the settings of an application for the claims about its users. The column claims
// stores them as JSON. An application of an earlier release has the zero value.
type Claims struct {
	// InIDToken puts the claims of the scopes profile and email into the ID token too, for
	// applications that do not ask userinfo (OpenID Connect Core §5.4).
	InIDToken bool `json:"id_token,omitempty"`
}

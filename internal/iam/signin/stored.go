package signin

import (
	"encoding/json"
	"time"
)

// storedFlow is a Flow in JSON, with the two fields in which the version before keeps its proofs.
// Both versions can then advance one flow while a deployment is upgraded.
//
// The release after removes this file and Proof.unversioned.
type storedFlow struct {
	plainFlow
	AMR      []string  `json:"amr"`
	AuthTime time.Time `json:"auth_time"`
}

// plainFlow is Flow without its methods.
type plainFlow Flow

// MarshalJSON writes the flow for this version and for the version before.
func (f Flow) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedFlow{plainFlow(f), f.amr(), f.authTime()})
}

// UnmarshalJSON reads a flow that either version saved. The version before drops the proofs when it
// saves a flow, so its fields count only without them. They do not tell with which password
// something was proved: see bindProofs.
func (f *Flow) UnmarshalJSON(b []byte) error {
	var s storedFlow
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*f = Flow(s.plainFlow)
	if len(f.Proofs) > 0 {
		return nil
	}
	for _, m := range withReferences(s.AMR) {
		f.Proofs = append(f.Proofs, Proof{Method: m.Name, At: s.AuthTime, unversioned: true})
	}
	return nil
}

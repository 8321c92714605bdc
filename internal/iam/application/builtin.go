package application

import (
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// ConsoleID is the id of the admin console in every tenant. Rules of signing in name it, and audit
// events say that a person acted via it.
var ConsoleID = id.ID{6: 0x70, 8: 0x80, 15: 0x10}

// console is the admin console: an application of every tenant that has no row. So no caller can
// change it, and it can hold nothing: no secret, redirect URI, grant, token or consent. It has no
// client_id, so no request to the provider can name it. Its people act with all of their rights.
var console = &Application{
	ID: ConsoleID, Name: "Gatehouse console", Type: Web, Status: Active, FirstParty: true,
	Scopes: []string{ScopeManage}, CreatedAt: time.Unix(0, 0).UTC(), UpdatedAt: time.Unix(0, 0).UTC(),
}

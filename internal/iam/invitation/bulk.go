package invitation

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// bulkRows is how many addresses of a bulk one transaction invites.
const bulkRows = 100

// errRepeated refuses the second row of an address: it would replace the first.
var errRepeated = fault.InvalidField("invitation.repeated", "email", "This address stands in an earlier row too.")

// BulkInvitation is what became of one address of a bulk.
type BulkInvitation struct {
	Email string          `json:"email"`
	Made  *MadeInvitation `json:"invitation,omitempty" doc:"Absent if the address was not invited: then error says why."`
	Error *BulkRefusal    `json:"error,omitempty"`
}

// BulkRefusal says why an address was not invited.
type BulkRefusal struct {
	Code   string           `json:"code" doc:"Which problem it is. Stable: programs may depend on it." example:"invitation.user_exists"`
	Detail string           `json:"detail" doc:"What happened and what to do, for people."`
	Errors []api.FieldError `json:"errors,omitempty" doc:"What is wrong with which field."`
}

// BulkAnswer is the answer to a bulk.
type BulkAnswer struct {
	Items []BulkInvitation `json:"items" doc:"One for each address, in the order of the request."`
}

type bulkInput struct {
	Body struct {
		Invitations []newInvitation `json:"invitations" minItems:"1" maxItems:"1000" doc:"Each address once."`
	}
}

// bulk invites each address that it can, in transactions of bulkRows. If a later transaction fails,
// its rows say so, because those before are committed.
func (d Deps) bulk(ctx context.Context, database *db.DB, req api.Request, in *bulkInput) (BulkAnswer, error) {
	rows := in.Body.Invitations
	repeated := repeats(rows)
	all := BulkAnswer{Items: make([]BulkInvitation, 0, len(rows))}
	for start := 0; start < len(rows); start += bulkRows {
		end := min(start+bulkRows, len(rows))
		items, err := db.Write(ctx, database, req.Caller, func(tx *db.Tx) ([]BulkInvitation, error) {
			return d.inviteAll(ctx, tx, req, rows[start:end], repeated[start:end])
		})
		if err != nil && start == 0 {
			return BulkAnswer{}, err
		}
		for i := start; err != nil && i < end; i++ {
			items = append(items, refusedRow(rows[i], err))
		}
		all.Items = append(all.Items, items...)
	}
	return all, nil
}

// repeats reports which rows have the address of an earlier one.
func repeats(rows []newInvitation) []bool {
	seen, out := map[string]bool{}, make([]bool, len(rows))
	for i, row := range rows {
		if key, ok := user.EmailKey(row.Email); ok {
			out[i], seen[key] = seen[key], true
		}
	}
	return out
}

// inviteAll invites the addresses of one transaction. A row that is refused leaves nothing behind,
// so the others stand.
func (d Deps) inviteAll(ctx context.Context, tx *db.Tx, req api.Request, rows []newInvitation, repeated []bool) (
	[]BulkInvitation, error) {
	desks := map[bool]*desk{}
	items := make([]BulkInvitation, 0, len(rows))
	for i, row := range rows {
		made, err := MadeInvitation{}, error(errRepeated)
		if !repeated[i] {
			made, err = d.inviteRow(ctx, tx, req, desks, row)
		}
		switch kind := fault.Of(err); {
		case err == nil:
			items = append(items, BulkInvitation{Email: row.Email, Made: &made})
		case kind == fault.Internal || kind == fault.Unavailable:
			return nil, err
		default:
			items = append(items, refusedRow(row, err))
		}
	}
	return items, nil
}

func (d Deps) inviteRow(ctx context.Context, tx *db.Tx, req api.Request, desks map[bool]*desk,
	row newInvitation) (MadeInvitation, error) {
	send := sends(row.Send)
	if desks[send] == nil {
		made, err := d.desk(ctx, req, send)
		if err != nil {
			return MadeInvitation{}, err
		}
		desks[send] = made
	}
	i, link, err := desks[send].invite(ctx, tx, row.describes())
	return made(i, link, send, tx.Now()), err
}

func refusedRow(row newInvitation, err error) BulkInvitation {
	f := fault.As(err)
	e := BulkRefusal{Code: f.Code, Detail: f.Reason}
	for _, fd := range f.Fields {
		e.Errors = append(e.Errors, api.FieldError{Name: fd.Name, Reason: fd.Reason})
	}
	return BulkInvitation{Email: row.Email, Error: &e}
}

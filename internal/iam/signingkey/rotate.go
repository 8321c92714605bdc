package signingkey

import (
	"context"
	"errors"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// fresh is a new key of an algorithm that is not stored yet.
type fresh struct {
	sealed
	alg jose.Algorithm
}

// Rotate retires the current key of an algorithm, promotes the next one, and creates a new next
// one. It returns the key that signs from now on. It creates the keys of a tenant that has none.
// It fails with a Conflict fault if clients may not know the next key yet, or if the tenant has too
// many keys.
func (k *Keys) Rotate(ctx context.Context, c caller.Caller, alg jose.Algorithm) (Key, error) {
	next, err := k.prepareRotation(ctx, c, alg)
	if err != nil {
		return Key{}, err
	}
	return db.Write(ctx, k.db, c, func(tx *db.Tx) (Key, error) { return k.rotate(ctx, tx, next) })
}

// prepareRotation returns the new next key of a rotation.
func (k *Keys) prepareRotation(ctx context.Context, c caller.Caller, alg jose.Algorithm) (fresh, error) {
	if !slices.Contains(jose.Signing, alg) {
		return fresh{}, fault.InvalidField("signing_key.algorithm", "algorithm",
			"Tokens are signed with ES256, RS256 or EdDSA.")
	}
	r, err := k.whole(ctx, c)
	if err != nil {
		return fresh{}, err
	}
	if _, ok := r.from[alg]; !ok {
		return fresh{}, fault.New(fault.Conflict, "signing_key.unused",
			"The tenant has no %s keys, because no application names this id_token_alg.", alg)
	}
	key, err := k.generate(c.Tenant, alg)
	return fresh{key, alg}, err
}

func (k *Keys) rotate(ctx context.Context, tx *db.Tx, next fresh) (Key, error) {
	before, kid, err := rotate(ctx, tx, next)
	if err != nil {
		return Key{}, err
	}
	audit.Write(tx, event("key.rotate", kid, next.alg, before, kid))
	k.changed(tx)
	return find(ctx, tx, kid)
}

// Withdraw deletes a key, so that no token that it signed is valid here any longer. If the key
// signs, the next one signs at once, even if clients may not know it yet. A new key replaces a
// withdrawn next one. It fails with ErrNotFound.
func (k *Keys) Withdraw(ctx context.Context, c caller.Caller, kid string) error {
	replacement, err := k.prepareWithdrawal(ctx, c, kid)
	if err != nil {
		return err
	}
	return k.db.Update(ctx, c, func(tx *db.Tx) error { return k.withdraw(ctx, tx, kid, replacement) })
}

// WithdrawCurrent withdraws the key that signs with an algorithm. It returns its kid and the key
// that signs from now on.
func (k *Keys) WithdrawCurrent(ctx context.Context, c caller.Caller, alg jose.Algorithm) (string, Key, error) {
	current, err := k.current(ctx, c, alg)
	if err != nil {
		return "", Key{}, err
	}
	if err := k.Withdraw(ctx, c, current.ID); err != nil {
		return "", Key{}, err
	}
	now, err := k.current(ctx, c, alg)
	return current.ID, now, err
}

// current returns the key that signs with an algorithm, or ErrNotFound.
func (k *Keys) current(ctx context.Context, c caller.Caller, alg jose.Algorithm) (Key, error) {
	keys, err := db.Read(ctx, k.db, c, func(tx *db.Tx) ([]Key, error) { return List(ctx, tx) })
	if err != nil {
		return Key{}, err
	}
	i := slices.IndexFunc(keys, func(key Key) bool {
		return key.Algorithm == string(alg) && key.State == states[statusCurrent]
	})
	if i < 0 {
		return Key{}, ErrNotFound
	}
	return keys[i], nil
}

// prepareWithdrawal returns a new key of the algorithm of kid. A retired key needs no replacement.
// By the time of the transaction it is still retired.
func (k *Keys) prepareWithdrawal(ctx context.Context, c caller.Caller, kid string) (fresh, error) {
	key, err := db.Read(ctx, k.db, c, func(tx *db.Tx) (Key, error) { return find(ctx, tx, kid) })
	if err != nil || key.State == states[statusRetired] {
		return fresh{}, err
	}
	if _, err := k.whole(ctx, c); err != nil { // a current key needs a next one
		return fresh{}, err
	}
	made, err := k.generate(c.Tenant, jose.Algorithm(key.Algorithm))
	return fresh{made, jose.Algorithm(key.Algorithm)}, err
}

func (k *Keys) withdraw(ctx context.Context, tx *db.Tx, kid string, replacement fresh) error {
	gone, after, err := withdraw(ctx, tx, kid, replacement)
	if err != nil {
		return err
	}
	audit.Write(tx, event("key.withdraw", kid, gone.alg, kid, after))
	k.changed(tx)
	return nil
}

// RotateDue rotates every current key that is older than 90 days, and deletes the keys that were
// retired more than 90 days ago. It retires EdDSA keys that no application needs. It creates the
// keys that a tenant of an earlier release lacks, so that they are published long before an
// application asks for them.
func (k *Keys) RotateDue(ctx context.Context, c caller.Caller) error {
	rows, err := db.Read(ctx, k.db, c, func(tx *db.Tx) ([]row, error) { return list(ctx, tx) })
	if err != nil {
		return err
	}
	if len(rows) == 0 { // no request has needed this tenant's keys yet
		return nil
	}
	now := k.clock.Now()
	all, err := k.whole(ctx, c)
	errs := []error{err}
	unused := err == nil && !all.named && (has(rows, onDemand, statusCurrent) || has(rows, onDemand, statusNext))
	if unused {
		errs = append(errs, k.retireUnused(ctx, c))
	}
	for _, r := range rows {
		switch {
		case unused && r.alg == onDemand:
		case r.status == statusCurrent && now.Sub(r.activatedAt) >= rotateEvery:
			_, err := k.Rotate(ctx, c, r.alg)
			errs = append(errs, err)
		case r.status == statusRetired && now.Sub(r.retiredAt) >= keepRetired:
			errs = append(errs, k.db.Update(ctx, c, func(tx *db.Tx) error {
				tx.Later(`DELETE FROM signing_keys WHERE tenant_id = $1 AND kid = $2 AND status = 'retired'`, r.kid)
				audit.Write(tx, event("key.delete", r.kid, r.alg, r.kid, ""))
				k.changed(tx)
				return nil
			}))
		}
	}
	return errors.Join(errs...)
}

// retireUnused retires the keys of the algorithm onDemand, unless an application names it. They
// stay published for as long as a token of them may live.
func (k *Keys) retireUnused(ctx context.Context, c caller.Caller) error {
	return k.db.Update(ctx, c, func(tx *db.Tx) error {
		named, err := isNamed(ctx, tx)
		if err != nil || named {
			return err
		}
		kid, err := retire(ctx, tx, onDemand)
		if err != nil {
			return err
		}
		if kid != "" {
			audit.Write(tx, event("key.retire", kid, onDemand, kid, ""))
		}
		k.changed(tx)
		return nil
	})
}

func (k *Keys) changed(tx *db.Tx) {
	k.touch(tx)
	tenant := tx.Tenant()
	tx.AfterCommit(func() { k.Drop(tenant) })
}

// event says which key was there before and which is there now, "" for none.
func event(action, kid string, alg jose.Algorithm, before, after string) audit.Event {
	return audit.Event{
		Action: action, Target: audit.Target{Kind: "signing_key", ID: kid, Name: string(alg)},
		Changed: audit.Changes{}.With("kid", before, after),
	}
}

package attempt

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// counter is a row. The column failures has two meanings, by the subject's kind: failed tries where
// a rule counts, and the size of the bucket otherwise. Only a rule reads it.
type counter struct {
	subject   string
	failures  int // of a rule; a bucket's row has its Burst there
	lastAt    time.Time
	expiresAt time.Time
}

const columns = `subject, failures, last_at, expires_at`

func scanCounter(r db.Row) (counter, error) {
	var c counter
	err := r.Scan(&c.subject, &c.failures, &c.lastAt, &c.expiresAt)
	return c, err
}

// judge applies the rule to a counter.
func judge(r rule, c counter, now time.Time) Verdict {
	if !now.Before(c.expiresAt) {
		return Verdict{}
	}
	until := c.lastAt.Add(r.delay(c.failures))
	return Verdict{Blocked: now.Before(until), Until: until}
}

// worse returns the verdict with the longer block.
func worse(a, b Verdict) Verdict {
	known := a.Known || b.Known
	started := a.Started || b.Started
	if b.Blocked && (!a.Blocked || b.Until.After(a.Until)) {
		a = b
	}
	a.Known, a.Started = known, started
	return a
}

func keyOf(keys []Key, subject string) Key {
	for _, k := range keys {
		if k.subject == subject {
			return k
		}
	}
	return Key{}
}

func subjects(keys []Key, from int) (string, []any) {
	var args []any
	marks := make([]string, len(keys))
	for i, k := range keys {
		marks[i] = fmt.Sprintf("$%d", from+i)
		args = append(args, k.subject)
	}
	return strings.Join(marks, ", "), args
}

// Fail counts a failure for each key and returns the verdict afterwards. One statement for keys
// with a rule, and one for those with a bucket. It writes the rows in one order, so that concurrent
// failures cannot deadlock.
func Fail(ctx context.Context, tx *db.Tx, keys ...Key) (Verdict, error) {
	var ruled, buckets []Key
	for _, k := range keys {
		if k.bucket.Burst > 0 {
			buckets = append(buckets, k)
		} else {
			ruled = append(ruled, k)
		}
	}
	v, err := failRuled(ctx, tx, ruled)
	if err != nil || len(buckets) == 0 {
		return v, err
	}
	rows, err := spend(ctx, tx, buckets...)
	for _, c := range rows {
		k := keyOf(buckets, c.subject)
		j := k.judge(c, tx.Now(), false)
		// The token that was taken was the last one, and another one would have been refused.
		j.Started = j.Blocked && !j.Until.Add(-k.bucket.Every).After(tx.Now())
		v = worse(v, j)
	}
	return v, err
}

func failRuled(ctx context.Context, tx *db.Tx, keys []Key) (Verdict, error) {
	if len(keys) == 0 {
		return Verdict{}, nil
	}
	keys = ordered(keys)
	sql, args := insert(tx, keys, 1)
	rows, err := db.List(ctx, tx, scanCounter,
		sql+`failures = CASE WHEN attempt_counters.expires_at <= excluded.last_at THEN 1
			WHEN attempt_counters.failures < 1000000 THEN attempt_counters.failures + 1 ELSE attempt_counters.failures END,
		last_at = excluded.last_at, expires_at = excluded.expires_at RETURNING `+columns, args...)
	var v Verdict
	for _, c := range rows {
		r := keyOf(keys, c.subject).rule
		j := judge(r, c, tx.Now())
		j.Started = j.Blocked && c.failures == r.Free
		v = worse(v, j)
	}
	return v, err
}

// Hold locks the counters of keys and returns their verdict. Other attempts then wait until this
// transaction has counted its own. Call it before a proof that is verified inside the transaction,
// such as a second factor. One statement.
func Hold(ctx context.Context, tx *db.Tx, keys ...Key) (Verdict, error) {
	keys = ordered(keys)
	sql, args := insert(tx, keys, 0)
	rows, err := db.List(ctx, tx, scanCounter, sql+`failures = attempt_counters.failures RETURNING `+columns, args...)
	var v Verdict
	for _, c := range rows {
		v = worse(v, keyOf(keys, c.subject).judge(c, tx.Now(), false))
	}
	return v, err
}

// ordered sorts keys and drops repetitions.
func ordered(keys []Key) []Key {
	keys = slices.SortedFunc(slices.Values(keys), func(a, b Key) int { return strings.Compare(a.subject, b.subject) })
	return slices.CompactFunc(keys, func(a, b Key) bool { return a.subject == b.subject })
}

// insert returns an upsert of a counter for each key, which ends before the columns to set.
func insert(tx *db.Tx, keys []Key, failures int) (string, []any) {
	var args []any
	var b strings.Builder
	b.WriteString(`INSERT INTO attempt_counters (tenant_id, last_at, failures, subject, expires_at) VALUES `)
	args = []any{tx.Now(), failures}
	for i, k := range keys {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($1, $2, $3, $%d, $%d)", 2*i+4, 2*i+5)
		args = append(args, k.subject, tx.Now().Add(k.rule.Forget)) // of a bucket: now, which is full
	}
	b.WriteString(` ON CONFLICT (tenant_id, subject) DO UPDATE SET `)
	return b.String(), args
}

// Clear deletes the counters of keys, after a proof that cannot be guessed such as a mailed link.
// It costs no round trip.
func Clear(tx *db.Tx, keys ...Key) {
	list, args := subjects(keys, 2)
	tx.Later(`DELETE FROM attempt_counters WHERE tenant_id = $1 AND subject IN (`+list+`)`, args...)
}

// SignIn counts the attempts to sign in to one account from one browser at one address. ForSignIn
// returns one.
type SignIn struct {
	account, tenant Key
	from            Client
	browser         Key // the account in this browser; has a row only if the browser is known
	home            Key // the account in this client's network; has a row only if that is known
}

// ForSignIn returns the counters of a sign-in. user is zero for an unknown login. browser is the
// secret of the browser's cookie, or "". In a new generation of the user no
// browser and no network is known.
func ForSignIn(user id.ID, generation int64, login, browser string, from Client) SignIn {
	s := SignIn{account: Account(user, login), from: from, tenant: ofTenant()}
	s.browser.rule = accountRule
	known := func(kind, what string) string {
		parts := []string{accountOf(user, login), what}
		if generation > 0 {
			parts = append(parts, strconv.FormatInt(generation, 10))
		}
		return digest(kind, parts...)
	}
	s.home = Key{subject: known("home", from.levels[0].subject), rule: accountRule}
	// Without a cookie all unknown browsers would share one counter.
	if browser != "" {
		s.browser.subject = known("browser", browser)
	}
	return s
}

// Check reports whether the sign-in is allowed. Call it before verifying the password. One
// statement.
func (s SignIn) Check(ctx context.Context, tx *db.Tx) (Verdict, error) {
	list, args := subjects(append(s.from.Keys(), s.account, s.tenant, s.browser, s.home), 2)
	rows, err := db.List(ctx, tx, scanCounter,
		`SELECT `+columns+` FROM attempt_counters WHERE tenant_id = $1 AND subject IN (`+list+`)`, args...)
	if err != nil {
		return Verdict{}, err
	}
	return s.verdict(rows, tx.Now()), nil
}

// verdict combines the rows. A known browser is judged by its own counter only, and so is a known
// network: what others do there, or to the account, does not keep the person out. All others are
// judged by the account and their networks. During an attack on the tenant or from the provider,
// the networks have fewer tries: enough for a person, too few for a guesser.
func (s SignIn) verdict(rows []counter, now time.Time) Verdict {
	find := func(k Key) (counter, bool) {
		i := slices.IndexFunc(rows, func(c counter) bool { return c.subject == k.subject && now.Before(c.expiresAt) })
		if i < 0 {
			return counter{}, false
		}
		return rows[i], true
	}
	for _, k := range []Key{s.browser, s.home} {
		if c, known := find(k); known {
			v := k.judge(c, now, false)
			v.Known = true
			return v
		}
	}
	alarm := false
	for _, k := range []Key{s.tenant, s.from.levels[2]} {
		if c, found := find(k); found && k.bucket.Burst > 0 && k.judge(c, now, false).Blocked {
			alarm = true
		}
	}
	var v Verdict
	for _, k := range []Key{s.account, s.from.levels[0], s.from.levels[1]} {
		if c, found := find(k); found {
			v = worse(v, k.judge(c, now, alarm))
		}
	}
	return v
}

// Fail counts a failed sign-in. Failures of a known browser or network do not delay the account for
// others, nor the reverse. At most three statements.
func (s SignIn) Fail(ctx context.Context, tx *db.Tx) (Verdict, error) {
	c, err := db.List(ctx, tx, scanCounter, `UPDATE attempt_counters SET failures = CASE
			WHEN failures > 0 AND last_at <= $4 THEN 1 WHEN failures < 1000000 THEN failures + 1 ELSE failures END, last_at = $3
		WHERE tenant_id = $1 AND subject IN ($2, $5) AND expires_at > $3 RETURNING `+columns, s.browser.subject,
		tx.Now(), tx.Now().Add(-accountRule.Forget), s.home.subject)
	if err != nil {
		return Verdict{}, err
	}
	others := append(s.from.Keys(), s.tenant)
	if len(c) == 0 {
		return Fail(ctx, tx, append(others, s.account)...)
	}
	if _, err := Fail(ctx, tx, others...); err != nil {
		return Verdict{}, err
	}
	if i := slices.IndexFunc(c, func(c counter) bool { return c.subject == s.browser.subject }); i > 0 {
		c[0] = c[i] // the browser counts more than the network
	}
	return s.verdictOfKnown(Verdict{}, c[0], tx.Now()), nil
}

func (s SignIn) verdictOfKnown(v Verdict, c counter, now time.Time) Verdict {
	j := judge(s.browser.rule, c, now)
	j.Known = true
	j.Started = j.Blocked && c.failures == s.browser.rule.Free
	return worse(v, j)
}

// Succeed ends a sign-in whose proof was correct. If the verdict is Blocked, other guesses came
// first: refuse the sign-in with the message for a wrong password, and call Fail. Otherwise Succeed
// clears the failures of the account and makes the browser known. One statement.
func (s SignIn) Succeed(ctx context.Context, tx *db.Tx) (Verdict, error) {
	// An UPDATE that changes nothing waits for concurrent failures to commit, and then reads them.
	// A SELECT would not see them.
	list, args := subjects([]Key{s.account, s.browser, s.home}, 2)
	rows, err := db.List(ctx, tx, scanCounter, `UPDATE attempt_counters SET failures = failures
		WHERE tenant_id = $1 AND subject IN (`+list+`) RETURNING `+columns, args...)
	if err != nil {
		return Verdict{}, err
	}
	v := s.verdict(rows, tx.Now())
	if v.Blocked {
		return v, nil
	}
	// The success of a known browser must not clear the failures of unknown ones.
	if !v.Known && slices.ContainsFunc(rows, func(c counter) bool { return c.subject == s.account.subject }) {
		Clear(tx, s.account)
	}
	for _, k := range []Key{s.browser, s.home} {
		i := slices.IndexFunc(rows, func(c counter) bool { return c.subject == k.subject })
		// At most once a day, so that an ordinary sign-in writes nothing here.
		if i < 0 || rows[i].failures > 0 || rows[i].expiresAt.Before(tx.Now().Add(knownFor-24*time.Hour)) {
			remember(tx, k)
		}
	}
	return v, nil
}

// remember makes a browser or a network known to the account.
func remember(tx *db.Tx, k Key) {
	if k.subject == "" {
		return
	}
	tx.Later(
		`INSERT INTO attempt_counters (tenant_id, subject, failures, last_at, expires_at) VALUES ($1, $2, 0, $3, $4)
		ON CONFLICT (tenant_id, subject) DO UPDATE SET failures = 0, last_at = excluded.last_at, expires_at = excluded.expires_at`,
		k.subject, tx.Now(), tx.Now().Add(knownFor))
}

// Forgive clears the failures of the account and makes the browser and the network known. It is for
// a new password by a mailed link, which proves more than a password does. So a user whom a
// stranger locks out gets back in. It costs no round trip.
func (s SignIn) Forgive(tx *db.Tx) {
	Clear(tx, s.account)
	remember(tx, s.browser)
	remember(tx, s.home)
}

// Purge removes at most limit expired rows of the tenant. It reports whether more may be left.
func Purge(ctx context.Context, tx *db.Tx, limit int) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM attempt_counters WHERE tenant_id = $1 AND subject IN
		(SELECT subject FROM attempt_counters WHERE tenant_id = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`,
		tx.Now(), limit)
	return n == int64(limit), err
}

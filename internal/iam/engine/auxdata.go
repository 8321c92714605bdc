package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Limits on auxData and on the keys behind it.
const (
	maxTokens   = 10       // JWTs of one request
	maxToken    = 16 << 10 // bytes of one
	maxKeySet   = 1 << 20  // bytes of a JWK set that is fetched
	keySetTime  = 5 * time.Second
	keySetRetry = 10 * time.Second // after a fetch that failed
)

// errAuxData refuses a request whose auxData cannot be verified, in Cerbos' words.
var errAuxData = fault.New(fault.Invalid, "policy.invalid_aux_data", "invalid auxData")

// AuxData verifies the JWTs of a request with the tenant's key sets, as Cerbos does, and returns
// their claims. errAuxData wraps the reason: an unknown key set, a bad signature, an expired token.
func (e *Engine) AuxData(ctx context.Context, c caller.Caller, in *requestv1.AuxData) (*enginev1.AuxData, error) {
	if in.GetJwt() == nil && len(in.GetJwts()) == 0 {
		return nil, nil
	}
	t, err := e.inForce(ctx, c)
	if err != nil {
		return nil, err
	}
	if one := in.GetJwt(); one != nil {
		claims, err := t.keys.claims(ctx, one)
		return &enginev1.AuxData{Jwt: claims}, err
	}
	if len(in.GetJwts()) > maxTokens {
		return nil, errAuxData.Because(fmt.Errorf("more than %d tokens", maxTokens))
	}
	out := &enginev1.AuxData{Jwts: map[string]*enginev1.AuxData_JWT{}}
	for name, one := range in.GetJwts() {
		claims, err := t.keys.claims(ctx, one)
		if err != nil {
			return nil, err
		}
		out.Jwts[name] = &enginev1.AuxData_JWT{Claims: claims}
	}
	return out, nil
}

// keySets are a tenant's key sets, by id.
type keySets map[string]*keySet

// keySet is one key set. Keys with a URL are fetched when they are first needed.
type keySet struct {
	of      KeySet
	clock   clock.Clock
	fetched *cache.Cache[struct{}, fetched] // one
}

// fetched is what the last fetch of a key set found.
type fetched struct {
	set   jwk.Set
	err   error     // if no fetch has succeeded
	until time.Time // when to fetch again; zero: never
}

func newKeySets(of []KeySet, c clock.Clock) keySets {
	out := keySets{}
	for _, k := range of {
		out[k.ID] = &keySet{of: k, clock: c, fetched: cache.New[struct{}](cache.Options[fetched]{
			Max:       1,
			Valid:     func(f fetched) bool { return f.until.IsZero() || !c.Now().After(f.until) },
			LoadLimit: keySetTime + time.Second, // the fetch itself ends before
		})}
	}
	return out
}

func (ks keySets) claims(ctx context.Context, in *requestv1.AuxData_JWT) (map[string]*structpb.Value, error) {
	if in.GetToken() == "" {
		return nil, nil
	}
	k := ks[in.GetKeySetId()]
	if in.GetKeySetId() == "" && len(ks) == 1 {
		for _, k = range ks { // the only one
		}
	}
	if k == nil || len(in.GetToken()) > maxToken {
		return nil, errAuxData.Because(errors.New("no such key set, or the token is too long"))
	}
	set, err := k.keys(ctx)
	if err != nil {
		return nil, errAuxData.Because(err)
	}
	var options []any
	if k.of.OptionalAlg {
		options = append(options, jws.WithInferAlgorithmFromKey(true))
	}
	if k.of.OptionalKid {
		options = append(options, jws.WithRequireKid(false))
	}
	token, err := jwt.ParseString(in.GetToken(), jwt.WithKeySet(set, options...), jwt.WithValidate(true),
		jwt.WithClock(jwt.ClockFunc(k.clock.Now)))
	if err != nil {
		return nil, errAuxData.Because(err)
	}
	out := map[string]*structpb.Value{}
	for _, name := range token.Keys() {
		var v any
		if token.Get(name, &v) != nil {
			continue
		}
		if value, err := claim(v); err == nil { // Cerbos too leaves out claims that are not JSON
			out[name] = value
		}
	}
	return out, nil
}

// claim returns a claim as conditions see it: a time as RFC 3339 text.
func claim(v any) (*structpb.Value, error) {
	switch v := v.(type) {
	case time.Time:
		return structpb.NewStringValue(v.Format(time.RFC3339)), nil
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		return structpb.NewValue(list)
	}
	return structpb.NewValue(v)
}

// keys returns the keys, and fetches them when it is time. If a fetch fails, the keys of the last
// one that succeeded stay in use.
func (k *keySet) keys(ctx context.Context) (jwk.Set, error) {
	f, err := k.fetched.Get(ctx, id.ID{}, struct{}{}, func(ctx context.Context) (fetched, error) {
		f := fetched{until: k.clock.Now().Add(k.of.Refresh)}
		f.set, f.err = k.load(ctx)
		if f.err != nil {
			f.until = k.clock.Now().Add(keySetRetry)
			if last, ok := k.fetched.Last(id.ID{}, struct{}{}); ok && last.set != nil {
				f.set, f.err = last.set, last.err
			}
		}
		if k.of.URL == "" {
			f.until = time.Time{}
		}
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	return f.set, f.err
}

func (k *keySet) load(ctx context.Context) (jwk.Set, error) {
	text := []byte(k.of.Keys)
	if k.of.URL != "" {
		var err error
		if text, err = fetch(ctx, k.of.URL); err != nil {
			return nil, err
		}
	}
	return k.of.parse(text)
}

// Check returns why the keys that stand in the set itself cannot be used, or nil.
func (k KeySet) Check() error {
	if k.Keys == "" {
		return nil
	}
	_, err := k.parse([]byte(k.Keys))
	return err
}

// parse reads public keys. It refuses private and symmetric ones: a reader of the settings
// could sign tokens with them.
func (k KeySet) parse(text []byte) (jwk.Set, error) {
	set, err := jwk.Parse(text, jwk.WithPEM(k.PEM))
	if err != nil {
		return nil, err
	}
	for i := range set.Len() {
		key, _ := set.Key(i)
		if private, err := jwk.IsPrivateKey(key); err != nil || private {
			return nil, fmt.Errorf("key %d is a private or symmetric key; only public keys belong in a key set", i)
		}
		if k.PEM {
			continue
		}
		if alg, ok := key.Algorithm(); !k.OptionalAlg && (!ok || alg.String() == "") {
			return nil, fmt.Errorf("key %d has no alg", i)
		}
		if kid, ok := key.KeyID(); !k.OptionalKid && (!ok || kid == "") {
			return nil, fmt.Errorf("key %d has no kid", i)
		}
	}
	return set, nil
}

// fetcher connects to public addresses only. A tenant names the URL, and must not reach hosts
// behind our firewall. It follows no redirects.
var fetcher = &http.Client{
	Timeout:       keySetTime,
	CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("key sets are not redirected") },
	Transport: &http.Transport{
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: (&net.Dialer{Timeout: keySetTime, Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || !public(to.Addr().Unmap()) {
				return fmt.Errorf("%s is not a public address", address)
			}
			return nil
		}}).DialContext,
	},
}

// special are ranges that netip counts as global, and that lead elsewhere. Some lie behind a
// firewall (RFC 6598, RFC 3879). Some are for documentation and benchmarks (RFC 5737, RFC 2544,
// RFC 3849). Others hold an IPv4 address (RFC 6052, RFC 8215, RFC 3056, RFC 4380, RFC 4291).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

func public(a netip.Addr) bool {
	a = a.WithZone("") // no prefix contains an address with a zone
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool {
		return p.Contains(a)
	})
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := fetcher.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if err == nil && len(text) > maxKeySet {
		err = fmt.Errorf("%s is larger than %d bytes", url, maxKeySet)
	}
	return text, err
}

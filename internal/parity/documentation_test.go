package parity

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// The examples of Cerbos' documentation, restated, and its tables of functions. The policies of
// testdata/documentation follow its pages on every kind of policy, conditions, outputs, schemas,
// scopes, best practices and recipes.

// example asks for actions on one resource and says what the documentation says of them.
type example struct {
	name      string
	principal string            // JSON of enginev1.Principal
	resource  string            // JSON of enginev1.Resource
	auxData   map[string]any    // claims: of a token, or of several by name
	want      map[string]string // action → allow or deny
}

const (
	ada     = `{"id": "ada", "roles": ["user"], "attr": {"address": "10.20.3.4", "country": "GB", "rank": "gold"}}`
	agent   = `{"id": "ada", "roles": ["agent"]}`
	clerk   = `{"id": "ada", "roles": ["acme_admin"], "scope": "acme", "attr": {"address": "10.20.3.4"}}`
	trainee = `{"id": "ada", "roles": ["acme_trainee"], "scope": "acme", "attr": {"address": "10.20.3.4"}}`
)

var examples = []example{
	{name: "owner by a derived role", principal: ada,
		resource: `{"kind": "gallery:album", "id": "a", "attr": {"owner": "ada"}}`,
		want:     map[string]string{"view": "allow", "share": "allow", "delete": "allow"}},
	{name: "somebody's public album", principal: ada,
		resource: `{"kind": "gallery:album", "id": "a", "attr": {"owner": "bob", "public": true}}`,
		want:     map[string]string{"view": "allow", "report": "allow", "delete": "deny"}},
	{name: "somebody's private album", principal: ada,
		resource: `{"kind": "gallery:album", "id": "a", "attr": {"owner": "bob", "public": false}}`,
		want:     map[string]string{"view": "deny"}},
	{name: "a moderator in the office",
		principal: `{"id": "mo", "roles": ["moderator"], "attr": {"address": "10.20.1.1"}}`,
		resource:  `{"kind": "gallery:album", "id": "a", "attr": {"owner": "bob", "reported": true}}`,
		want:      map[string]string{"view": "allow", "delete": "allow", "share": "deny", "inspect": "allow"}},
	{name: "a moderator at home",
		principal: `{"id": "mo", "roles": ["moderator"], "attr": {"address": "203.0.113.1", "on_call": true}}`,
		resource:  `{"kind": "gallery:album", "id": "a", "attr": {"owner": "bob", "reported": true}}`,
		want:      map[string]string{"view": "allow", "inspect": "deny"}},
	{name: "variables and constants", principal: `{"id": "carol", "roles": ["visitor"], "attr": {"rank": "gold"}}`,
		resource: `{"kind": "gallery:album", "id": "a", "attr": {"owner": "bob"}}`,
		want:     map[string]string{"curate": "allow"}},
	{name: "a lesser rank", principal: `{"id": "carol", "roles": ["visitor"], "attr": {"rank": "silver"}}`,
		resource: `{"kind": "gallery:album", "id": "a", "attr": {"owner": "bob"}}`,
		want:     map[string]string{"curate": "deny"}},
	{name: "attributes against the schema", principal: ada,
		resource: `{"kind": "gallery:album", "id": "a", "attr": {"public": "yes", "bought_at": {"city": "Leeds"}}}`,
		want:     map[string]string{"view": "deny", "share": "deny"}},
	{name: "actions that the schema is not for",
		principal: `{"id": "carol", "roles": ["visitor"], "attr": {"rank": "gold"}}`,
		resource:  `{"kind": "gallery:album", "id": "a", "attr": {"public": "yes"}}`,
		want:      map[string]string{"curate": "allow"}},

	{name: "condition blocks, all true",
		principal: `{"id": "dev_ada", "roles": ["user"], "attr": {"country": "GB"}}`,
		resource: `{"kind": "holiday", "id": "h", "attr": {"state": "WAITING", "countries": ["GB"], "dev": false, ` +
			`"number": "98", "qa": false, "canary": false}}`,
		want: map[string]string{"single": "allow", "all": "allow", "any": "allow", "none": "deny", "nested": "allow",
			"flat": "allow"}},
	{name: "condition blocks, some true", principal: `{"id": "ada", "roles": ["user"], "attr": {"country": "FR"}}`,
		resource: `{"kind": "holiday", "id": "h", "attr": {"state": "WAITING", "countries": ["US"], "dev": true, ` +
			`"number": "1", "qa": true, "canary": false}}`,
		want: map[string]string{"single": "deny", "all": "deny", "any": "allow", "none": "deny", "nested": "deny",
			"flat": "deny"}},
	{name: "condition blocks, none true", principal: `{"id": "ada", "roles": ["user"], "attr": {"country": "FR"}}`,
		resource: `{"kind": "holiday", "id": "h", "attr": {"state": "DONE", "countries": ["US"]}}`,
		want:     map[string]string{"any": "deny", "none": "allow"}},
	{name: "an error while a condition is evaluated", principal: ada,
		resource: `{"kind": "holiday", "id": "h", "attr": {"amount": "many"}}`,
		want:     map[string]string{"erring-allow": "deny"}},
	{name: "an error in a DENY", principal: ada, resource: `{"kind": "holiday", "id": "h", "attr": {}}`,
		want: map[string]string{"erring-deny": ""}},
	{name: "globals", principal: `{"id": "ada", "roles": ["developer"]}`, resource: `{"kind": "holiday", "id": "h"}`,
		want: map[string]string{"staged": "allow"}},

	{name: "allowed by one of several roles", principal: `{"id": "ada", "roles": ["admin", "user"]}`,
		resource: `{"kind": "payment", "id": "p"}`, want: map[string]string{"delete": "allow"}},
	{name: "deny wins within a role", principal: `{"id": "ada", "roles": ["manager"]}`,
		resource: `{"kind": "payment", "id": "p", "attr": {"status": "PENDING", "amount": 15000}}`,
		want:     map[string]string{"approve": "deny"}},
	{name: "no deny", principal: `{"id": "ada", "roles": ["manager"]}`,
		resource: `{"kind": "payment", "id": "p", "attr": {"status": "PENDING", "amount": 15}}`,
		want:     map[string]string{"approve": "allow"}},
	{name: "wildcards honour the delimiter", principal: `{"id": "ada", "roles": ["auditor", "clerk"]}`,
		resource: `{"kind": "payment", "id": "p"}`, want: map[string]string{"view:public": "allow", "view": "deny",
			"view:a:draft": "allow", "x:y:draft": "allow", "x:draft": "deny"}},
	{name: "nobody wrote a policy", principal: ada, resource: `{"kind": "unheard_of", "id": "u"}`,
		want: map[string]string{"view": "deny"}},

	{name: "a junior manager", principal: `{"id": "ada", "roles": ["JR_MANAGER"]}`,
		resource: `{"kind": "report", "id": "r"}`, want: map[string]string{"run": "allow", "view": "allow",
			"share": "allow", "edit": "deny"}},
	{name: "an administrator who only looks", principal: `{"id": "ada", "roles": ["IT_ADMIN"]}`,
		resource: `{"kind": "report", "id": "r"}`, want: map[string]string{"run": "deny", "view": "allow"}},
	{name: "all actions", principal: `{"id": "ada", "roles": ["CFO"]}`, resource: `{"kind": "report", "id": "r"}`,
		want: map[string]string{"run": "allow", "save": "allow"}},
	{name: "blanket allow, granular deny", principal: `{"id": "ada", "roles": ["TRAINEE"]}`,
		resource: `{"kind": "report", "id": "r"}`, want: map[string]string{"run": "allow", "edit": "deny",
			"save": "deny"}},
	{name: "roles in the context",
		principal: `{"id": "ada", "roles": ["USER"], "attr": {"workspaces": {"w1": {"role": "OWNER"}, "w2": ` +
			`{"role": "MEMBER"}}}}`, resource: `{"kind": "workspace", "id": "w1"}`,
		want: map[string]string{"workspace:view": "allow", "pii:view": "allow"}},
	{name: "another workspace",
		principal: `{"id": "ada", "roles": ["USER"], "attr": {"workspaces": {"w1": {"role": "OWNER"}, "w2": ` +
			`{"role": "MEMBER"}}}}`, resource: `{"kind": "workspace", "id": "w2"}`,
		want: map[string]string{"workspace:view": "deny"}},
	{name: "a claim of a JWT", principal: ada, resource: `{"kind": "data_set", "id": "d"}`,
		auxData: map[string]any{"": map[string]any{"aud": []any{"api"}}}, want: map[string]string{"read": "allow",
			"named": "deny"}},
	{name: "claims of named JWTs", principal: ada, resource: `{"kind": "data_set", "id": "d"}`,
		auxData: map[string]any{"first": map[string]any{"aud": []any{"api"}},
			"second": map[string]any{"iss": "cerbos"}}, want: map[string]string{"named": "allow", "read": "deny"}},
	{name: "no JWT", principal: ada, resource: `{"kind": "data_set", "id": "d"}`,
		want: map[string]string{"read": "deny"}},
	{name: "fields as actions", principal: `{"id": "ada", "roles": ["employee"]}`,
		resource: `{"kind": "personnel_file", "id": "f", "attr": {"manager": "bob"}}`,
		want:     map[string]string{"name:view": "allow", "department:view": "allow", "salary:view": "deny"}},
	{name: "fields of a manager", principal: `{"id": "bob", "roles": ["employee"]}`,
		resource: `{"kind": "personnel_file", "id": "f", "attr": {"manager": "bob"}}`,
		want:     map[string]string{"salary:view": "allow", "salary:edit": "deny"}},
	{name: "fields as outputs", principal: `{"id": "hr", "roles": ["employee", "hr_admin"]}`,
		resource: `{"kind": "personnel_file", "id": "f", "attr": {"manager": "bob"}}`,
		want:     map[string]string{"view": "allow", "salary:edit": "allow"}},
	{name: "outside working hours", principal: `{"id": "ed", "roles": ["engineer"]}`,
		resource: `{"kind": "machine", "id": "m", "attr": {"at": "2026-01-05T22:00:00Z"}}`,
		want:     map[string]string{"login": "deny"}},
	{name: "inside working hours", principal: `{"id": "ed", "roles": ["engineer"]}`,
		resource: `{"kind": "machine", "id": "m", "attr": {"at": "2026-01-05T11:00:00Z"}}`,
		want:     map[string]string{"login": "allow"}},

	{name: "a principal's policy allows", principal: `{"id": "daisy", "roles": ["user"]}`,
		resource: `{"kind": "payment", "id": "p", "attr": {"trial": false, "department_id": 12345}}`,
		want:     map[string]string{"delete": "allow"}},
	{name: "a principal's policy does not decide", principal: `{"id": "daisy", "roles": ["admin"]}`,
		resource: `{"kind": "payment", "id": "p", "attr": {"trial": false, "department_id": 1}}`,
		want:     map[string]string{"delete": "allow", "approve": "deny"}},
	{name: "a principal's policy denies", principal: `{"id": "daisy", "roles": ["user"]}`,
		resource: `{"kind": "gallery:album", "id": "a", "attr": {"owner": "daisy"}}`,
		want:     map[string]string{"delete": "deny", "view": "allow"}},
	{name: "a principal's policy denies everything", principal: `{"id": "daisy", "roles": ["CFO"]}`,
		resource: `{"kind": "report", "id": "r"}`, want: map[string]string{"run": "deny"}},

	{name: "no scope", principal: agent, resource: `{"kind": "ticket", "id": "t", "attr": {"solved": true}}`,
		want: map[string]string{"view": "allow", "close": "allow", "escalate": "deny"}},
	{name: "the empty scope by its other name", principal: agent,
		resource: `{"kind": "ticket", "id": "t", "scope": ".", "attr": {"solved": true}}`,
		want:     map[string]string{"view": "allow"}},
	{name: "a scope overrides its parent", principal: agent,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme", "attr": {"locked": true}}`,
		want:     map[string]string{"view": "allow", "edit": "deny", "escalate": "allow"}},
	{name: "a scope needs its parents' consent", principal: agent,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme.hr", "attr": {"team": "hr"}}`,
		want:     map[string]string{"view": "allow", "escalate": "allow", "invent": "deny", "edit": "allow"}},
	{name: "a condition that is not met denies where consent is needed", principal: agent,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme.hr", "attr": {"team": "sales"}}`,
		want:     map[string]string{"view": "deny"}},
	{name: "four scopes", principal: agent,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme.hr.uk", "attr": {"team": "hr", "solved": false}}`,
		want:     map[string]string{"close": "allow", "view": "allow"}},
	{name: "a scope without a policy", principal: agent,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme.hr.fr"}`, want: map[string]string{"view": "deny"}},
	{name: "another version", principal: `{"id": "ada", "roles": ["anybody"]}`,
		resource: `{"kind": "ticket", "id": "t", "policyVersion": "staging"}`,
		want:     map[string]string{"anything": "allow"}},
	{name: "a version that nobody wrote", principal: agent,
		resource: `{"kind": "ticket", "id": "t", "policyVersion": "nightly"}`, want: map[string]string{"view": "deny"}},
	{name: "a role policy narrows its parent", principal: clerk,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme", "attr": {"owner": "ada", "solved": true}}`,
		want:     map[string]string{"view": "allow", "escalate": "allow", "close": "allow", "edit": "deny"}},
	{name: "a role policy's condition", principal: clerk,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme", "attr": {"owner": "bob", "solved": true}}`,
		want:     map[string]string{"close": "deny"}},
	{name: "a role policy below a role policy", principal: trainee,
		resource: `{"kind": "ticket", "id": "t", "scope": "acme", "attr": {"owner": "ada", "solved": true}}`,
		want:     map[string]string{"view": "allow", "escalate": "deny", "close": "deny"}},
}

// functions are the tables of Cerbos' page on conditions, a line each. Every one is true.
var functions = map[string][]string{
	"durations": {`duration("3750s").getSeconds() == 3750`, `duration(R.attr.cooldown).getHours() == 1`,
		`duration("3750s").getMilliseconds() == 3750000`, `duration(R.attr.cooldown).getMinutes() == 62`,
		`timestamp(R.attr.accessed).timeSince() > duration("1h")`},
	"hierarchies": {`hierarchy("a.b.c") == hierarchy(["a", "b", "c"])`, `hierarchy("a:b:c", ":").size() == 3`,
		`hierarchy("a.b").ancestorOf(hierarchy("a.b.c.d"))`,
		`hierarchy(R.attr.scope).commonAncestors(hierarchy(P.attr.scope)) == hierarchy("x.y")`,
		`hierarchy("a.b.c.d").descendentOf(hierarchy("a.b"))`,
		`hierarchy("a.b.c").immediateChildOf(hierarchy("a.b")) && ` +
			`!hierarchy("a.b.c.d").immediateChildOf(hierarchy("a.b"))`,
		`hierarchy("a.b").immediateParentOf(hierarchy("a.b.c"))`,
		`hierarchy("a.b.c").overlaps(hierarchy("a.b.c.d.e")) && ` +
			`!hierarchy("a.b.x").overlaps(hierarchy("a.b.c.d.e"))`,
		`hierarchy("a.b.c").siblingOf(hierarchy("a.b.d"))`, `hierarchy("a.b.c").size() == 3`,
		`hierarchy("a.b.c.d")[1] == "b"`},
	"addresses": {`cidr("192.168.0.0/16").containsCIDR(cidr("192.168.1.0/24"))`,
		`cidr("2001:db8::/48").containsIP(P.attr.v6)`, `cidr("192.168.0.0/16").isMask()`,
		`cidr("192.168.1.5/24").masked() == cidr("192.168.1.0/24")`, `cidr("192.168.1.0/24").prefixLength() == 24`,
		`P.attr.v4.inIPAddrRange("192.168.0.0/24") && P.attr.v6.inIPAddrRange("2001:db8::/48")`,
		`ip(P.attr.v4).family() == 4`, `ip(P.attr.v6).isGlobalUnicast()`,
		`!ip(P.attr.v6).isLinkLocalMulticast()`, `!ip(P.attr.v6).isLinkLocalUnicast()`,
		`!ip(P.attr.v4).isLoopback()`,
		`!ip(P.attr.v6).isUnspecified()`, `!ip.isCanonical(P.attr.v6)`, `isCIDR("::1/128")`, `isIP(P.attr.v4)`},
	"lists": {`P.attr.teams + ["ops"] == ["design", "communications", "product", "commercial", "ops"]`,
		`P.attr.teams[0] == "design" && P.attr.clients["acme"]["active"] == true`,
		`P.attr.teams.all(t, size(t) > 3) && [1, 2, 3].all(i, j, i < j)`,
		`[1, 2, 2, 3, 3, 3].distinct() == [1, 2, 3]`,
		`P.attr.teams.except(["design", "engineering"]) == ["communications", "product", "commercial"]`,
		`P.attr.teams.exists(t, t.startsWith("comm")) && P.attr.limits.exists(k, v, k == "design" && v > 0)`,
		`!P.attr.teams.exists_one(t, t.startsWith("comm"))`, `size(P.attr.teams.filter(t, t.matches("^comm"))) == 2`,
		`[1, 2, [], [], [3, 4]].flatten() == [1, 2, 3, 4] && [1, [2, [3, [4]]]].flatten(2) == [1, 2, 3, [4]]`,
		`hasIntersection(["design", "engineering"], P.attr.teams)`,
		`("design" in P.attr.teams) && ("acme" in P.attr.clients)`,
		`intersect(["design", "engineering"], P.attr.teams) == ["design"]`,
		`!["design", "engineering"].isSubset(P.attr.teams)`, `lists.range(5) == [0, 1, 2, 3, 4]`,
		`"DESIGN" in P.attr.teams.map(t, t.upperAscii())`,
		`[5, 3, 1, 2].reverse() == [2, 1, 3, 5]`, `sets.contains(P.attr.teams, ["design"])`,
		`sets.equivalent(P.attr.teams, ["commercial", "product", "communications", "design"])`,
		`sets.intersects(["design", "engineering"], P.attr.teams)`,
		`size(P.attr.teams) == 4 && size(P.attr.clients) == 2`,
		`[1, 2, 3, 4].slice(1, 3) == [2, 3]`, `[3, 2, 1].sort() == [1, 2, 3]`,
		`[{"n": "a", "s": 0}, {"n": "b", "s": -10}, {"n": "c", "s": 1000}].sortBy(e, e.s).map(e, e.n) == ["b", ` +
			`"a", "c"]`, `[1, 2, 3].transformList(i, v, i > 0, 2 * v) == [4, 6] && [1, 2, 3].transformList(i, v, 2 ` +
			`* v) == [2, 4, 6]`,
		`[1, 2, 3].transformMap(i, v, i > 0, 2 * v) == {1: 4, 2: 6}`,
		`{"greeting": "hello"}.transformMapEntry(k, v, {v: k}) == {"hello": "greeting"}`},
	"math": {`math.abs(1.2) == 1.2 && math.abs(-2) == 2`,
		`math.bitAnd(3u, 2u) == 2u && math.bitAnd(3, 5) == 1 && math.bitAnd(-3, -5) == -7`,
		`math.bitNot(1) == -2 && math.bitNot(-1) == 0 && math.bitNot(0u) == 18446744073709551615u`,
		`math.bitOr(1u, 2u) == 3u && math.bitOr(-2, -4) == -2`,
		`math.bitShiftLeft(1, 2) == 4 && math.bitShiftLeft(-1, 2) == -4 && math.bitShiftLeft(1u, 2) == 4u && ` +
			`math.bitShiftLeft(1u, 200) == 0u`, `math.bitShiftRight(1024, 2) == 256 && math.bitShiftRight(1024u, ` +
			`2) == 256u`, `math.bitXor(3u, 5u) == 6u && math.bitXor(1, 3) == 2`,
		`math.ceil(1.2) == 2.0 && math.ceil(-1.2) == -1.0`, `math.floor(1.2) == 1.0 && math.floor(-1.2) == -2.0`,
		`math.greatest([1, 3, 5]) == 5 && math.greatest(1, 3, 5) == 5`,
		`!math.isFinite(0.0/0.0) && math.isFinite(1.2)`, `math.isInf(1.0/0.0) && !math.isInf(1.2)`,
		`math.isNaN(0.0/0.0) && !math.isNaN(1.2)`,
		`math.least([1, 3, 5]) == 1 && math.least(1, 3, 5) == 1`,
		`math.round(1.2) == 1.0 && math.round(1.5) == 2.0 && math.round(-1.5) == -2.0`,
		`math.sign(1.2) == 1.0 && math.sign(-2) == -1 && math.sign(0) == 0`,
		`math.trunc(1.2) == 1.0 && math.trunc(-1.2) == -1.0`},
	"paths": {`basePath("/path/to/dir") == "dir"`, `dirPath("/path/to/file.txt") == "/path/to"`,
		`extPath("/path/to/file.txt") == ".txt"`, `joinPath(["/path", "to", "file.txt"]) == "/path/to/file.txt"`,
		`pathHasPrefix("/path/to/dir", "/path/to") && "/path/to/dir".pathHasPrefix("/path/to")`,
		`pathMatch("/path/to/file.zip", "/path/to/*.zip") && "/path/to/file.zip".pathMatch("/path/to/*.zip")`,
		`pathMatchAnyOf("/path/to/file.zip", ["/path/to/*.tar.gz", "/path/to/*.zip"])`,
		`relPath("/path/to", "/path/to/file.txt") == "file.txt"`, `volumeName("/path") == ""`},
	"spiffe": {`spiffeID(P.id).isMemberOf(spiffeTrustDomain("spiffe://acme.example"))`,
		`spiffeID(P.id).path() == "/ns/privileged/sa/curl"`,
		`spiffeID(P.id).trustDomain() == spiffeTrustDomain("spiffe://acme.example")`,
		`spiffeMatchAny().matchesID(spiffeID(P.id))`,
		`spiffeMatchExact(spiffeID("spiffe://acme.example/ns/privileged/sa/curl")).matchesID(spiffeID(P.id))`,
		`spiffeMatchOneOf(["spiffe://acme.example/ns/privileged/sa/curl", ` +
			`"spiffe://acme.example/ns/privileged/sa/foo"]).matchesID(spiffeID(P.id))`,
		`spiffeMatchTrustDomain(spiffeTrustDomain("spiffe://acme.example")).matchesID(spiffeID(P.id))`,
		`spiffeTrustDomain("acme.example").id() == "spiffe://acme.example"`,
		`spiffeTrustDomain("spiffe://acme.example").name() == "acme.example"`},
	"strings": {`base64.encode(bytes("hello")) == "aGVsbG8="`, `base64.decode("aGVsbG8=") == bytes("hello")`,
		`R.attr.department.charAt(1) == "a"`, `R.attr.department.contains("arket")`,
		`R.attr.department.endsWith("ing")`,
		`"department_%s_%d".format(["marketing", 1]) == "department_marketing_1"`,
		`R.attr.department.indexOf("a") == 1`, `json.encode({"id": "125"}) == '{"id":"125"}'`,
		`R.attr.department.lastIndexOf("g") == 8`, `"MARKETING".lowerAscii() == R.attr.department`,
		`R.attr.department.matches("^[mM].*g$")`, `regex.extractAll("a bb a cc", "a") == ["a", "a"]`,
		`regex.replace("banana", "a", "i") == "binini"`, `regex.replace("banana", "a", "i", 1) == "binana"`,
		`regex.replace("banana", "b(a).*", r"\1") == "a"`,
		`R.attr.department.replace("market", "engineer") == "engineering"`,
		`"engineering".replace("e", "a", 1) == "angineering" && "engineering".replace("e", "a", -1) == "anginaaring"`,
		`size(R.attr.department) == 9`, `"a,b,c,d".split(",")[1] == "b"`, `"a,b,c,d".split(",", 2)[1] == "b,c,d"`,
		`R.attr.department.startsWith("mark")`,
		`R.attr.department.substring(4) == "eting" && R.attr.department.substring(4, 6) == "et"`,
		`"  marketing  ".trim() == "marketing"`, `R.attr.department.upperAscii() == "MARKETING"`},
	"timestamps": {`timestamp(R.attr.accessed).getFullYear() == 2021`, `timestamp(R.attr.accessed).getDate() == 20`,
		`timestamp(R.attr.accessed).getDayOfMonth() == 19`, `timestamp(R.attr.accessed).getDayOfWeek() == 2`,
		`timestamp(R.attr.accessed).getDayOfYear() == 109`, `timestamp(R.attr.accessed).getHours("-05:00") == 10`,
		`timestamp(R.attr.accessed).getMilliseconds() == 21`, `timestamp(R.attr.accessed).getMinutes("UTC") == 0`,
		`timestamp(R.attr.accessed).getMonth("NZ") == 3`, `timestamp(R.attr.accessed).getSeconds() == 20`,
		`now() > timestamp(R.attr.accessed)`,
		`timestamp(R.attr.updated) - timestamp(R.attr.accessed) > duration("36h")`,
		`timestamp(R.attr.updated) + duration("24h") == timestamp("2021-05-02T13:34:12.024Z")`},
	"operators": {`!false`, `-(1) == -1`, `1 != 2`, `5 % 3 == 2`, `true && true`, `false || true`, `2 * 3 == 6`,
		`"a" + "b" == "ab"`, `7 / 2 == 3`, `1 <= 1`, `1 < 2`, `2 >= 2`, `3 > 2`, `"a" in {"a": 1}`,
		`true ? true : false`, `has(R.attr.department)`,
		`P.id == request.principal.id && R.id == request.resource.id`},
}

// documentation is the world of the examples.
func documentation(t testing.TB) *world {
	t.Helper()
	s := engine.DefaultSettings()
	s.SchemaEnforcement = engine.SchemaReject
	s.Globals = map[string]any{"environment": "staging"}
	s.KeySets = []engine.KeySet{{ID: keySet, Keys: publicKeys()}}
	w := &world{name: "documentation", settings: s, files: compiler.Files{}}
	root := os.DirFS("testdata/documentation")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		w.files[path], err = fs.ReadFile(root, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for family, lines := range functions {
		var rules []any
		for i, expr := range lines {
			rules = append(rules, map[string]any{"actions": []string{fmt.Sprintf("line%d", i)},
				"effect": "EFFECT_ALLOW", "roles": []string{"*"},
				"condition": map[string]any{"match": map[string]any{"expr": expr}}})
		}
		text, err := json.Marshal(map[string]any{"apiVersion": "api.cerbos.dev/v1",
			"resourcePolicy": map[string]any{"resource": "functions:" + family, "version": "default", "rules": rules}})
		if err != nil {
			t.Fatal(err)
		}
		w.files["functions/"+family+".json"] = text
	}
	return w
}

func (e example) request(t testing.TB) *requestv1.CheckResourcesRequest {
	t.Helper()
	in := &requestv1.CheckResourcesRequest{RequestId: e.name, IncludeMeta: true, Principal: &enginev1.Principal{}}
	entry := &requestv1.CheckResourcesRequest_ResourceEntry{Resource: &enginev1.Resource{}}
	if err := protojson.Unmarshal([]byte(e.principal), in.Principal); err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	if err := protojson.Unmarshal([]byte(e.resource), entry.Resource); err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	for action := range e.want {
		entry.Actions = append(entry.Actions, action)
	}
	in.Resources = append(in.Resources, entry)
	for name, claims := range e.auxData {
		token := &requestv1.AuxData_JWT{Token: sign(claims.(map[string]any))}
		if name == "" {
			in.AuxData = &requestv1.AuxData{Jwt: token}
			continue
		}
		if in.AuxData == nil {
			in.AuxData = &requestv1.AuxData{Jwts: map[string]*requestv1.AuxData_JWT{}}
		}
		in.AuxData.Jwts[name] = token
	}
	return in
}

// plan asks the same as a query: what of the resource's attributes is known is left out.
func (e example) plan(t testing.TB) *requestv1.PlanResourcesRequest {
	check := e.request(t)
	r := check.Resources[0]
	return &requestv1.PlanResourcesRequest{RequestId: e.name, IncludeMeta: true, Principal: check.Principal,
		AuxData: check.AuxData, Actions: r.Actions,
		Resource: &enginev1.PlanResourcesInput_Resource{Kind: r.Resource.Kind,
			PolicyVersion: r.Resource.PolicyVersion, Scope: r.Resource.Scope}}
}

// TestDocumentation asks both what the documentation shows, as a check and as a plan, and wants the
// effects that it promises.
func TestDocumentation(t *testing.T) {
	w := documentation(t)
	theirs := dial(t, w.serve(t).GRPC, "")
	byGRPC, byHTTP := w.doors(t, process.Start(t, process.Config{Plain: true}))
	for _, ours := range []door{byGRPC, byHTTP} {
		t.Run(ours.name, func(t *testing.T) { askExamples(t, theirs, ours.pdp) })
	}
}

func askExamples(t *testing.T, theirs, ours pdp) {
	asked := 0
	for _, e := range examples {
		in := e.request(t)
		a, aErr := theirs.check(t.Context(), in)
		b, bErr := ours.check(t.Context(), in)
		if d := differs(a, aErr, b, bErr); d != "" {
			t.Errorf("%s\n%s", e.name, d)
		}
		for action, want := range e.want {
			if got := a.GetResults()[0].Actions[action]; want != "" &&
				(got == effectv1.Effect_EFFECT_ALLOW) != (want == "allow") {
				t.Errorf("%s: Cerbos itself says %v to %s, the documentation %s", e.name, got, action, want)
			}
		}
		plan := e.plan(t)
		p, pErr := theirs.plan(t.Context(), plan)
		q, qErr := ours.plan(t.Context(), plan)
		if personalDenials[e.name] {
			if kind := q.GetFilter().GetKind(); kind != enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED {
				t.Errorf("%s, planned: %s", e.name, kind)
			}
		} else if d := differs(p, pErr, q, qErr); d != "" {
			t.Errorf("%s, planned\n%s", e.name, d)
		}
		asked += 2
	}
	subject := &enginev1.Principal{Id: "spiffe://acme.example/ns/privileged/sa/curl", Roles: []string{"api"}, Attr: values(t, `{"scope": "x.y.z", "v4": "192.168.0.10", "v6": "2001:0db8:0000:0000:0000:0000:1000:0000",
		"teams": ["design", "communications", "product", "commercial"], "limits": {"design": 10, "product": 25}, "clients": {"acme": {"active": true}, "bb inc": {"active": true}}}`)}
	object := values(t, `{"cooldown": "3750s", "accessed": "2021-04-20T10:00:20.021-05:00", "updated": `+
		`"2021-05-01T13:34:12.024Z", "scope": "x.y", "department": "marketing", "id": "125"}`)
	for family, lines := range functions {
		in := &requestv1.CheckResourcesRequest{RequestId: family, IncludeMeta: true, Principal: subject}
		for i := range lines {
			in.Resources = append(in.Resources,
				&requestv1.CheckResourcesRequest_ResourceEntry{Actions: []string{fmt.Sprintf("line%d", i)},
					Resource: &enginev1.Resource{Kind: "functions:" + family, Id: fmt.Sprint(i), Attr: object}})
			asked++
		}
		a, aErr := theirs.check(t.Context(), in)
		b, bErr := ours.check(t.Context(), in)
		if d := differs(a, aErr, b, bErr); d != "" {
			t.Errorf("%s\n%s", family, d)
		}
		for i, r := range a.GetResults() {
			for action, effect := range r.Actions {
				if effect != effectv1.Effect_EFFECT_ALLOW {
					t.Errorf("%s, %s: Cerbos itself does not say true to %s", family, action, lines[i])
				}
			}
		}
	}
	t.Logf("%d examples", asked)
}

// personalDenials are the examples whose DENY in a principal policy Cerbos' planner forgets.
var personalDenials = map[string]bool{"a principal's policy denies": true,
	"a principal's policy denies everything": true}

func values(t testing.TB, text string) map[string]*structpb.Value {
	t.Helper()
	s := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(strings.TrimSpace(text)), s); err != nil {
		t.Fatal(err)
	}
	return s.Fields
}

package parity

import (
	"fmt"
	"math/rand/v2"
)

// A writer writes CEL of every family that Cerbos documents. An expression has the right types as
// far as they are known when a policy is compiled. Attributes may be missing or of another type
// when it is evaluated, on purpose.
type writer struct {
	*rand.Rand
	flags   []string // expressions that are booleans: variables in scope
	words   []string // expressions that are strings: variables and constants in scope
	lists   []string // expressions that are lists of strings
	numbers []string // expressions that are numbers
	faulty  bool     // it writes conditions that Cerbos' planner gets wrong
	derived bool     // runtime.effectiveDerivedRoles may be used
	clock   bool     // now() and timeSince may be used: a plan shows what they were
	global  bool
	opened  bool // a condition that hangs on the resource was written
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func (w *writer) chance(percent int) bool { return w.IntN(100) < percent }

func (w *writer) one(from ...string) string { return pick(w.Rand, from) }

func (w *writer) word() string {
	return w.one("design", "sales", "GB", "US", "draft", "PENDING", "acme", "alice", "a-b", "Straße", "x:y", "")
}

func (w *writer) literal() string { return fmt.Sprintf("%q", w.word()) }

// number is an integer literal.
func (w *writer) number() string { return w.one("0", "1", "2", "3", "5", "10", "42", "-1", "100") }

func (w *writer) str(depth int) string {
	if depth <= 0 || w.chance(40) {
		if len(w.words) > 0 && w.chance(25) {
			return pick(w.Rand, w.words)
		}
		return w.one(w.literal(), "P.id", "R.id", "R.kind", "P.attr.department", "R.attr.owner", "R.attr.status",
			"R.attr.geography", "request.resource.attr.address.city", `P.attr["department"]`)
	}
	s := func() string { return w.str(depth - 1) }
	switch w.IntN(19) {
	case 0:
		return s() + ".upperAscii()"
	case 1:
		return s() + ".lowerAscii()"
	case 2:
		return fmt.Sprintf("%s.replace(%q, %q)", s(), w.one("a", "e", "GB"), w.one("", "x"))
	case 3:
		return s() + ".trim()"
	case 4:
		return fmt.Sprintf("%s.substring(%s)", s(), w.one("0", "1", "2"))
	case 5:
		return fmt.Sprintf("(%s + %s)", s(), s())
	case 6:
		return fmt.Sprintf(`"%%s_%%s".format([%s, %s])`, s(), s())
	case 7:
		return fmt.Sprintf("base64.encode(bytes(%s))", s())
	case 8:
		return fmt.Sprintf("(%s ? %s : %s)", w.boolean(depth-1), s(), s())
	case 9:
		return fmt.Sprintf("regex.replace(%s, %q, %q)", s(), w.one("a+", "[aeiou]", "^d"), "_")
	case 10:
		return fmt.Sprintf("basePath(%s)", w.path())
	case 11:
		return fmt.Sprintf("dirPath(%s)", w.path())
	case 12:
		return fmt.Sprintf("extPath(%s)", w.path())
	case 13:
		return fmt.Sprintf("joinPath([%s, %q])", w.path(), "more.txt")
	case 14:
		return fmt.Sprintf("string(%s)", w.integer(depth-1))
	case 15:
		return fmt.Sprintf("%s.charAt(%s)", s(), w.one("0", "1"))
	case 16:
		return fmt.Sprintf("hierarchy(%s)[%s]", w.hierarchy(), w.one("0", "1"))
	case 17:
		return fmt.Sprintf("json.encode(%s)", w.list(depth-1))
	default:
		return fmt.Sprintf("%s[%s]", w.list(depth-1), w.one("0", "0", "1"))
	}
}

// integer is an expression whose type is int.
func (w *writer) integer(depth int) string {
	if depth <= 0 {
		return w.number()
	}
	n := func() string { return w.integer(depth - 1) }
	switch w.IntN(15) {
	case 0:
		return fmt.Sprintf("size(%s)", w.list(depth-1))
	case 1:
		return fmt.Sprintf("size(%s)", w.str(depth-1))
	case 2:
		return fmt.Sprintf("%s.indexOf(%q)", w.str(depth-1), w.one("a", "e"))
	case 3:
		return fmt.Sprintf("%s.lastIndexOf(%q)", w.str(depth-1), w.one("a", "e"))
	case 4:
		return fmt.Sprintf("(%s %s %s)", n(), w.one("+", "-", "*"), n())
	case 5:
		return fmt.Sprintf("(%s %s %s)", n(), w.one("/", "%"), w.one("2", "3", "size(P.roles)", "int(R.attr.zero)"))
	case 6:
		return fmt.Sprintf("math.abs(%s)", n())
	case 7:
		return fmt.Sprintf("math.%s(%s, %s)", w.one("greatest", "least"), n(), n())
	case 8:
		return fmt.Sprintf("math.%s(%s, %s)", w.one("bitAnd", "bitOr", "bitXor"), n(), n())
	case 9:
		return fmt.Sprintf("math.%s(%s, %s)", w.one("bitShiftLeft", "bitShiftRight"), n(), w.one("1", "2"))
	case 10:
		return fmt.Sprintf("%s.%s(%s)", w.timestamp(), w.one("getFullYear", "getMonth", "getDate", "getDayOfMonth",
			"getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"),
			w.one("", "", `"UTC"`, `"-05:00"`, `"Europe/Berlin"`))
	case 11:
		return fmt.Sprintf("%s.%s()", w.duration(), w.one("getHours", "getMinutes", "getSeconds", "getMilliseconds"))
	case 12:
		return "int(R.attr.amount)"
	case 13:
		return fmt.Sprintf("hierarchy(%s).size()", w.hierarchy())
	default:
		return w.number()
	}
}

// numeric is a number of any type, often an attribute, which is a double.
func (w *writer) numeric(depth int) string {
	switch w.IntN(7) {
	case 0, 1:
		return "R.attr.amount"
	case 2:
		return "P.attr.level"
	case 3:
		return fmt.Sprintf("int(math.%s(double(R.attr.amount) / 3.0))", w.one("ceil", "floor", "round", "trunc",
			"abs", "sign"))
	case 4:
		return fmt.Sprintf("P.attr.limits[%s]", w.one(`"design"`, `"sales"`, "P.attr.department"))
	default:
		return w.integer(depth)
	}
}

func (w *writer) list(depth int) string {
	if depth <= 0 || w.chance(35) {
		if len(w.lists) > 0 && w.chance(30) {
			return pick(w.Rand, w.lists)
		}
		if w.derived && w.chance(10) {
			return "runtime.effectiveDerivedRoles"
		}
		return w.one("P.attr.teams", "R.attr.tags", "P.roles", fmt.Sprintf("[%s, %s]", w.literal(), w.literal()),
			`["design", "sales", "GB"]`)
	}
	l := func() string { return w.list(depth - 1) }
	switch w.IntN(16) {
	case 0:
		return fmt.Sprintf("intersect(%s, %s)", l(), l())
	case 1:
		return fmt.Sprintf("%s.except(%s)", l(), l())
	case 2:
		return fmt.Sprintf("%s.filter(t, t != %s)", l(), w.str(0))
	case 3:
		return fmt.Sprintf("%s.map(t, t + %q)", l(), "!")
	case 4:
		return l() + ".distinct()"
	case 5:
		return fmt.Sprintf("dyn(%s.sort())", l()) // CEL takes a sorted list for one of whole numbers
	case 6:
		return l() + ".reverse()"
	case 7:
		return l() + ".slice(0, 1)"
	case 8:
		return fmt.Sprintf("[%s, %s].flatten()", l(), l())
	case 9:
		return fmt.Sprintf("lists.range(%s).map(i, string(i))", w.one("2", "3"))
	case 10:
		return fmt.Sprintf("%s.split(%q)", w.str(depth-1), w.one(",", "-", "a"))
	case 11:
		return fmt.Sprintf("dyn(%s.sortBy(e, size(e)))", l())
	case 12:
		return fmt.Sprintf("%s.transformList(i, v, i > 0, v + %q)", l(), "?")
	case 13:
		return fmt.Sprintf("(%s + %s)", l(), l())
	case 14:
		return fmt.Sprintf("regex.extractAll(%s, %q)", w.str(0), "[a-z]")
	default:
		return "dyn(P.attr.limits.transformList(k, v, v > 3, k).sort())"
	}
}

func (w *writer) timestamp() string {
	return w.one("timestamp(R.attr.created)", "timestamp(R.attr.created)", "timestamp(P.attr.joined)",
		`timestamp("2021-04-20T10:00:20.021-05:00")`,
		`(timestamp(R.attr.created) + duration("36h"))`)
}

func (w *writer) duration() string {
	return w.one("duration(R.attr.cooldown)", `duration("3750s")`, `duration("1h")`, "(timestamp(R.attr.created) - "+
		"timestamp(P.attr.joined))")
}

func (w *writer) hierarchy() string {
	return w.one("P.attr.position", "R.attr.position", `"acme.hr.uk"`, `"acme"`, `["acme", "hr"]`, `"acme:hr:uk", ":"`)
}

func (w *writer) path() string {
	return w.one("R.attr.path", `"/docs/plans/q3.pdf"`, `"/docs"`)
}

func (w *writer) boolean(depth int) string {
	if depth <= 0 {
		if len(w.flags) > 0 && w.chance(35) {
			return pick(w.Rand, w.flags)
		}
		return w.one("P.attr.active", "R.attr.public", "R.attr.public == true", "R.attr.owner == P.id",
			"has(R.attr.owner)", "has(P.attr.active)", `R.attr.status == "draft"`, `"design" in P.attr.teams`,
			"R.attr.amount > 10", `P.attr.department == R.attr.department`, "true", "R.attr.geography == "+
				"P.attr.geography")
	}
	b := func() string { return w.boolean(depth - 1) }
	s := func() string { return w.str(depth - 1) }
	l := func() string { return w.list(depth - 1) }
	h := func() string { return "hierarchy(" + w.hierarchy() + ")" }
	switch w.IntN(34) {
	case 0, 1:
		return fmt.Sprintf("(%s && %s)", b(), b())
	case 2, 3:
		return fmt.Sprintf("(%s || %s)", b(), b())
	case 4:
		return fmt.Sprintf("!(%s)", b())
	case 5:
		return fmt.Sprintf("(%s ? %s : %s)", b(), b(), b())
	case 6, 7:
		return fmt.Sprintf("%s %s %s", s(), w.one("==", "!=", "<", ">="), s())
	case 8, 9:
		return fmt.Sprintf("%s %s %s", w.numeric(depth-1), w.one("==", "!=", "<", "<=", ">", ">="), w.numeric(depth-1))
	case 10:
		return fmt.Sprintf("%s in %s", s(), l())
	case 11:
		return fmt.Sprintf("hasIntersection(%s, %s)", l(), l())
	case 12:
		return fmt.Sprintf("%s.isSubset(%s)", l(), l())
	case 13:
		return fmt.Sprintf("sets.%s(%s, %s)", w.one("contains", "equivalent", "intersects"), l(), l())
	case 14:
		return fmt.Sprintf("%s.%s(t, t %s %s)", l(), w.one("exists", "all", "exists_one"), w.one("==", "!="), s())
	case 15:
		return fmt.Sprintf("%s.%s(%s)", s(), w.one("startsWith", "endsWith", "contains"), s())
	case 16:
		return fmt.Sprintf("%s.matches(%q)", s(), w.one("^[a-d].*", "^dev_", "[A-Z]{2}", "(?i)^GB$"))
	case 17:
		return fmt.Sprintf("P.attr.ip.inIPAddrRange(%q)", w.one("10.20.0.0/16", "192.168.0.0/24", "2001:db8::/48"))
	case 18:
		return w.one(`cidr("10.0.0.0/8").containsIP(P.attr.ip)`,
			`cidr("10.0.0.0/8").containsCIDR(cidr("10.1.0.0/16"))`, "ip(P.attr.ip).family() == "+
				"4", "isIP(P.attr.ip)", "ip(P.attr.ip).isLoopback()", "ip(P.attr.ip).isGlobalUnicast()",
			`cidr("192.168.1.5/24").masked() == cidr("192.168.1.0/24")`,
			`cidr("192.168.1.0/24").prefixLength() == 24`, "isCIDR(R.attr.path)",
			"ip(P.attr.ip).isUnspecified()", "ip(P.attr.ip).isLinkLocalUnicast()", "ip.isCanonical(P.attr.ip)")
	case 19, 20:
		return fmt.Sprintf("%s.%s(%s)", h(), w.one("ancestorOf", "descendentOf", "immediateChildOf",
			"immediateParentOf", "overlaps", "siblingOf"), h())
	case 21:
		return fmt.Sprintf("%s.commonAncestors(%s) == %s", h(), h(), h())
	case 22:
		return fmt.Sprintf("%s %s %s", w.timestamp(), w.one("<", ">", "==", "<="), w.timestamp())
	case 23:
		return fmt.Sprintf("%s > %s", w.duration(), w.duration())
	case 24:
		if w.clock {
			return w.one(`timestamp(R.attr.created).timeSince() > duration("1h")`,
				"now() > timestamp(R.attr.created)", `now() - timestamp("2020-01-01T00:00:00Z") > duration("24h")`)
		}
		return `timestamp(R.attr.created) < timestamp("2024-06-01T00:00:00Z")`
	case 25:
		return w.one(`spiffeID(P.attr.spiffe).isMemberOf(spiffeTrustDomain("spiffe://cerbos.dev"))`,
			`spiffeID(P.attr.spiffe).path() == "/ns/privileged/sa/curl"`,
			"spiffeMatchAny().matchesID(spiffeID(P.attr.spiffe))",
			`spiffeMatchTrustDomain(spiffeTrustDomain("spiffe://cerbos.dev")).matchesID(spiffeID(P.attr.spiffe))`,
			`spiffeMatchOneOf(["spiffe://cerbos.dev/ns/privileged/sa/curl", `+
				`"spiffe://acme.example/x"]).matchesID(spiffeID(P.attr.spiffe))`,
			`spiffeMatchExact(spiffeID("spiffe://cerbos.dev/ns/privileged/sa/curl")).matchesID(spiffeID(P.attr.spiffe))`, `spiffeTrustDomain("cerbos.dev").id() == "spiffe://cerbos.dev"`, `spiffeID(P.attr.spiffe).trustDomain().name() == "cerbos.dev"`)
	case 26:
		return w.one(`pathMatch(R.attr.path, "/docs/**")`, `R.attr.path.pathHasPrefix("/docs")`,
			`pathMatchAnyOf(R.attr.path, ["/docs/*.pdf", "/img/**/*.png"])`,
			`relPath("/docs", R.attr.path) == "q3.pdf"`, `volumeName(R.attr.path) == ""`)
	case 27:
		return w.one(`P.attr.limits["design"] > 5`, `"sales" in P.attr.limits`, "P.attr.limits.exists(k, v, v > 3)",
			"P.attr.limits.all(k, v, v > 0)", `P.attr.limits.transformMap(k, v, v * 2.0)["design"] == 20.0`,
			`{"a": "b"}.transformMapEntry(k, v, {v: k}) == {"b": "a"}`, "P.attr.limits.filter(k, size(k) > 5) == "+
				"[\"design\"]", "size(P.attr.limits) == 2")
	case 28:
		return w.one("request.auxData.jwt.sub == P.id", `"api" in request.auxData.jwt.aud`,
			"has(request.auxData.jwt.tenant)", `request.auxData.jwt.customArray.exists(x, x == "A")`,
			`request.auxData.jwts.first.claims.iss == "cerbos"`,
			`request.auxData.jwts["second"].claims["sub"] == P.id`, `request.auxData.jwt.nested.level > 2`)
	case 29:
		if w.global {
			return w.one(`G.environment == "staging"`, "globals.limit > R.attr.amount", "R.attr.geography in "+
				"G.regions", "G.flags.beta", "has(G.nothing)", "G.nothing == 1")
		}
		return b()
	case 30:
		return w.one("math.isNaN(0.0 / 0.0)", "math.isInf(1.0 / double(R.attr.zero))",
			"math.isFinite(double(R.attr.amount))", "math.bitNot(1) == -2", "math.sign(R.attr.amount) == "+
				"1.0", "math.greatest([1, 3, 5]) == 5", "math.sqrt(16.0) == 4.0")
	case 31:
		// Errors that only a request brings to light.
		return w.one("R.attr.missing.deeper == 1", "R.attr.owner > 10", "[1, 2][5] == 1",
			`timestamp(R.attr.owner) > timestamp("2020-01-01T00:00:00Z")`, "10 / int(R.attr.zero) == "+
				"1", `P.attr.limits["nobody"] == 1`, `R.attr.tags[7] == "x"`, "int(R.attr.owner) == 3")
	case 32:
		if w.derived {
			return w.one(`"owner" in runtime.effectiveDerivedRoles`, "size(runtime.effectiveDerivedRoles) > 1",
				`runtime.effectiveDerivedRoles.exists(r, r.startsWith("own"))`)
		}
		return b()
	default:
		return b()
	}
}

// condition is a match block: an expression, or all, any and none of several, nested. Every other
// one hangs on the resource and on hardly anything that fails, so that a plan has something to say.
func (w *writer) condition() map[string]any {
	if w.chance(50) {
		w.opened = true
		return map[string]any{"match": w.match(2, w.open)}
	}
	return map[string]any{"match": w.match(2, w.boolean)}
}

func (w *writer) match(depth int, write func(depth int) string) map[string]any {
	if depth == 0 || w.chance(60) {
		return map[string]any{"expr": write(w.IntN(4))}
	}
	var of []any
	for range 1 + w.IntN(3) {
		of = append(of, w.match(depth-1, write))
	}
	return map[string]any{w.one("all", "any", "none"): map[string]any{"of": of}}
}

// open is a boolean that hangs on attributes of the resource, which a plan leaves open.
func (w *writer) open(depth int) string {
	if depth <= 0 {
		if w.faulty && w.chance(15) {
			return w.fault()
		}
		switch w.IntN(16) {
		case 0, 1:
			return fmt.Sprintf("%s %s %s", w.openString(1), w.one("==", "!=", "<", ">="), w.one(w.literal(), "P.id",
				"P.attr.department", w.openString(0)))
		case 2, 3:
			return fmt.Sprintf("%s %s %s", w.openNumber(1), w.one("==", "!=", "<", "<=", ">", ">="), w.one("1.0",
				"42.0", "99.5", "P.attr.level", w.openNumber(0)))
		case 4:
			return fmt.Sprintf("%s in %s", w.openString(0), w.one("P.attr.teams", "P.roles",
				`["design", "sales", "GB"]`, w.openList(0)))
		case 5:
			return fmt.Sprintf("%s in %s", w.one("P.attr.department", w.literal(), "P.id"), w.openList(1))
		case 6:
			return fmt.Sprintf("%s.%s(%s)", w.openString(1), w.one("startsWith", "endsWith", "contains"),
				w.one(`"d"`, `"GB"`, "P.attr.department"))
		case 7:
			return fmt.Sprintf("%s.%s(t, t %s %s)", w.openList(0), w.one("exists", "all", "exists_one"), w.one("==",
				"!="), w.one("P.attr.department", w.literal(), "R.attr.owner"))
		case 8:
			return fmt.Sprintf("P.attr.teams.%s(t, t == %s)", w.one("exists", "all"), w.openString(0))
		case 9:
			return fmt.Sprintf("hasIntersection(%s, %s)", w.openList(1), w.one("P.attr.teams", "P.roles",
				w.openList(0)))
		case 10:
			return fmt.Sprintf("%s.isSubset(%s)", w.openList(0), w.one("P.attr.teams", `["design", "x", "y"]`))
		case 11:
			return fmt.Sprintf("has(R.attr.%s)", w.one("owner", "tags", "amount", "address.city", "nothing"))
		case 12:
			return fmt.Sprintf("size(%s) %s %s", w.one(w.openList(0), w.openString(0)), w.one("==", ">", "<="),
				w.one("0", "1", "2"))
		case 13:
			return fmt.Sprintf("%s %s %s", w.timestamp(), w.one("<", ">="), `timestamp(R.attr.created)`)
		case 14:
			return fmt.Sprintf("hierarchy(R.attr.position).%s(hierarchy(%s))", w.one("ancestorOf", "descendentOf",
				"overlaps", "siblingOf"), w.hierarchy())
		default:
			if len(w.flags) > 0 && w.chance(70) {
				return pick(w.Rand, w.flags)
			}
			return w.one("R.attr.public", "R.attr.public == P.attr.active", "R.attr.owner == P.id",
				"R.attr.address.city == P.attr.geography", "R.id == P.id", `R.scope == "acme"`, `R.kind == "document0"`,
				// CEL has no overload for these. Their checks fail, so plans show nothing by them.
				"R.attr.amount + 1 > 2", "2 * R.attr.amount < 100", "R.attr.amount % 2 == 1",
				"R.attr.amount - size(R.attr.tags) != 3", "size(R.attr.amount) > 0")
		}
	}
	o := func() string { return w.open(depth - 1) }
	switch w.IntN(9) {
	case 0, 1:
		return fmt.Sprintf("(%s && %s)", o(), o())
	case 2, 3:
		return fmt.Sprintf("(%s || %s)", o(), o())
	case 4:
		return fmt.Sprintf("!(%s)", o())
	case 5:
		return fmt.Sprintf("(%s ? %s : %s)", w.one("P.attr.active", w.open(0)), o(), o())
	case 6:
		return fmt.Sprintf("(%s %s P.attr.active)", o(), w.one("&&", "||", "=="))
	case 7:
		if w.derived {
			return fmt.Sprintf("(%s %s %s)", w.one(`"owner" in runtime.effectiveDerivedRoles`,
				`"member2" in runtime.effectiveDerivedRoles`, "size(runtime.effectiveDerivedRoles) > "+
					"1"), w.one("&&", "||"), o())
		}
		return o()
	default:
		return w.open(0)
	}
}

// fault is a condition that Cerbos' planner gets wrong.
func (w *writer) fault() string {
	switch w.IntN(3) {
	case 0:
		return fmt.Sprintf("%s %s %s", w.one(append(w.numbers, "P.attr.limits[R.attr.department]")...), w.one("==",
			"!=", "<", ">", ">="), w.one("3", "5.0", "P.attr.level"))
	case 1: // values that Cerbos' planner takes for one
		return fmt.Sprintf("(%s %s %s %s %[1]s %[2]s %[5]s)", w.one("R.attr.owner", "R.attr.zero", "R.attr.public"),
			w.one("==", "!="), w.one("null", `""`, "0", "false"), w.one("&&", "||"), w.one("null", `""`, "0", "false"))
	default: // operands of another type than they need
		return w.one("R.attr.owner in P.attr.department", "(R.attr.public && P.attr.teams)",
			"(R.attr.public || P.attr.department)",
			"P.attr.teams.exists(t, R.attr.owner in t)", "P.attr.teams.all(t, t && R.attr.public)",
			"(P.attr.active ? P.attr.limits[R.attr.department] : 0) > 5", "(!P.attr.level || R.attr.public)",
			"R.attr.owner in P.attr.limits", "P.attr.level + R.attr.amount > 2", "P.attr.level + 1 > R.attr.amount")
	}
}

func (w *writer) openString(depth int) string {
	s := w.one("R.attr.owner", "R.attr.status", "R.attr.department", "R.attr.geography", "R.attr.address.city",
		`R.attr["owner"]`, "R.id")
	if depth <= 0 || w.chance(60) {
		return s
	}
	return w.one(s+".lowerAscii()", s+".upperAscii()", "("+s+" + "+w.literal()+")", "("+w.literal()+" + "+s+")",
		s+`.replace("a", "e")`, "basePath(R.attr.path)", s+".trim()", "(R.attr.public ? "+s+" : P.id)")
}

func (w *writer) openNumber(depth int) string {
	if len(w.numbers) > 0 && w.chance(20) {
		return pick(w.Rand, w.numbers)
	}
	if depth <= 0 || w.chance(50) {
		return "R.attr.amount"
	}
	return w.one("(R.attr.amount + 1.0)", "(R.attr.amount * 2.0)", "(R.attr.amount - P.attr.level)",
		"double(size(R.attr.tags))", "math.abs(R.attr.amount)", "(-R.attr.amount)", "R.attr.amount / 2.0")
}

func (w *writer) openList(depth int) string {
	if depth <= 0 || w.chance(60) {
		return "R.attr.tags"
	}
	return w.one("[R.attr.owner, R.attr.department]", "intersect(R.attr.tags, P.attr.teams)",
		"R.attr.tags.except(P.attr.teams)", `R.attr.tags.filter(t, t != "x")`, `R.attr.tags.map(t, t + "!")`,
		"(R.attr.tags + P.attr.teams)", "P.attr.teams.filter(t, t != R.attr.owner)")
}

// value is an expression of any type, for an output.
func (w *writer) value() string {
	switch w.IntN(6) {
	case 0:
		return w.integer(2)
	case 1:
		return w.list(1)
	case 2:
		return fmt.Sprintf(`{"principal": P.id, "resource": R.id, "why": %s}`, w.str(1))
	case 3:
		return w.boolean(1)
	case 4:
		return w.one("null", "R.attr", "P.attr.limits", w.timestamp(), w.duration(), "1.5", "R.attr.amount")
	default:
		return w.str(2)
	}
}

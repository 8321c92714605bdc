package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// vectors are from passlib 1.7 (argon2-cffi, bcrypt), whose strings are the most common imports.
var vectors = map[string][]string{
	"correct horse": {
		"$argon2id$v=19$m=1024,t=2,p=2$yvn/3zun9H6PcQ5h7J2z9g$vwwhKUTC8C1xTrWuIOpmSGiAvM2OZzAug6I6+KfhUeE",
		"$2b$04$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpnJKW",
		"$2a$04$xQSuEEj.7DyyDbJ2VFVsW.ao5DZXDe3P4213puzuild076otfwXkm",
		"$2y$04$DpKOR/3Fhz3VlrRYXemy../jeE.gt1vln8QXc/2LF.HeNrfBEoXTi",
		"$scrypt$ln=10,r=8,p=2$LSXE2Ps/pxTivFeqtfZ+Lw$CtazdekP95mo9KUlSllL94A+l1rPuEDEqmq1khzjlEo",
		"$pbkdf2$1000$w7i3llIqxRgDoFQqBYAQQg$WTXRDi1v3EyL0MsEjGuYTnZEQ6o",
		"$pbkdf2-sha256$1000$CsH4P2csxRhjjFEKYexdSw$EdeH64xNR6mxoZ2AbdaeFaMtjPN4CmfPnzDotFImbgc",
		"$pbkdf2-sha256$i=1000$CsH4P2csxRhjjFEKYexdSw$EdeH64xNR6mxoZ2AbdaeFaMtjPN4CmfPnzDotFImbgc",
		"$pbkdf2-sha256$i=1000,l=32$CsH4P2csxRhjjFEKYexdSw==$EdeH64xNR6mxoZ2AbdaeFaMtjPN4CmfPnzDotFImbgc=",
		"$pbkdf2-sha512$1000$0noPQWgt5fzfm1Oq9R7jfA$Ghqd5iaZsyEStdUMEMSamCA4nrRtyY7YodqC8i/C14WGc9OSnW8Pyt2W.0AP5q/XOKWXDjncgZfOI6KnN52blw",
	},
	"Grüße, 世界": {
		"$argon2id$v=19$m=1024,t=2,p=2$sZZybk3JGcPY+18rpXSu1Q$wjVvbe6IZNFMb8ndeMLR8oDQmM+uzKRAo4IvcV5hvA0",
		"$2b$04$/L6L1wktjWKdK4LN3Kh56.b5X7NBg45P7LX8nWnr8FrleSqgEvAbq",
		"$scrypt$ln=10,r=8,p=2$e+/9fw9BqDXGGKPUOmcMwQ$2tyleZ/9yJMr1PSw2IXT6E+DQZluC/laKLUTjKVtNvQ",
		"$pbkdf2$1000$2rs3hjAGwHgvJeT8nxNiLA$OBZQuOb5zxyVn/jOJNHvqBw3njY",
		"$pbkdf2-sha512$1000$1FoLQejde69VKuV8z3nv3Q$wDms.77hk9aAaKO5GDYbMBzK7vvghkz23eb2RMKgeaXlekNzMlM3EfhJa0GvMph5nHWxU6U3fw091kvRsQ.U6g",
	},
}

func TestForeignHashes(t *testing.T) {
	h := NewHasher(HasherConfig{Params: Params{Memory: 1024, Passes: 1, Lanes: 1}})
	for password, hashes := range vectors {
		for _, s := range hashes {
			if _, err := parseHash(s); err != nil {
				t.Errorf("%s: %v", s, err)
				continue
			}
			ok, rehash, err := h.Verify(t.Context(), s, secret.String(password))
			if !ok || !rehash || err != nil {
				t.Errorf("%s: ok %v, rehash %v, %v; want the password accepted and hashed anew", s, ok, rehash, err)
			}
			if ok, _, err := h.Verify(t.Context(), s, secret.String(password+".")); ok || err != nil {
				t.Errorf("%s: a wrong password: %v, %v", s, ok, err)
			}
		}
	}
}

// A caller who may create a user must not be able to make later sign-in attempts cost gigabytes or
// minutes.
func TestHashLimits(t *testing.T) {
	salt, sum := "c2FsdHNhbHRzYWx0", strings.Repeat("A", 43)
	for name, s := range map[string]string{
		"argon2id of 4 GiB":               "$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum,
		"argon2id above the bound":        fmt.Sprintf("$argon2id$v=19$m=%d,t=1,p=1$%s$%s", maxMemoryKiB+1, salt, sum),
		"argon2id of a thousand passes":   "$argon2id$v=19$m=65536,t=1000,p=1$" + salt + "$" + sum,
		"argon2id without passes":         "$argon2id$v=19$m=65536,t=0,p=1$" + salt + "$" + sum,
		"argon2id without lanes":          "$argon2id$v=19$m=65536,t=1,p=0$" + salt + "$" + sum,
		"argon2id of 255 lanes":           "$argon2id$v=19$m=65536,t=1,p=255$" + salt + "$" + sum,
		"argon2id overflowing":            "$argon2id$v=19$m=4294967295,t=4294967295,p=1$" + salt + "$" + sum,
		"argon2id beyond 32 bits":         "$argon2id$v=19$m=4294967296,t=1,p=1$" + salt + "$" + sum,
		"argon2id of version 16":          "$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + sum,
		"argon2id without version":        "$argon2id$m=65536,t=2,p=1$" + salt + "$" + sum,
		"argon2i":                         "$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + sum,
		"argon2id, names swapped":         "$argon2id$v=19$t=2,m=65536,p=1$" + salt + "$" + sum,
		"argon2id, a sign":                "$argon2id$v=19$m=+65536,t=2,p=1$" + salt + "$" + sum,
		"argon2id, a short sum":           "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$AAAA",
		"argon2id, no salt":               "$argon2id$v=19$m=65536,t=2,p=1$$" + sum,
		"argon2id, a line break in it":    "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum[:40] + "\n" + sum[40:],
		"bcrypt of cost 31":               "$2b$31$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpnJKW",
		"bcrypt of cost 15":               "$2b$15$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpnJKW",
		"bcrypt of cost 3":                "$2b$03$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpnJKW",
		"bcrypt of the broken 2x":         "$2x$04$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpnJKW",
		"bcrypt cut":                      "$2b$04$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpnJK",
		"bcrypt of other characters":      "$2b$04$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpn%KW",
		"scrypt of 64 GiB":                "$scrypt$ln=26,r=8,p=1$" + salt + "$" + sum,
		"scrypt of 512 MiB":               "$scrypt$ln=19,r=8,p=1$" + salt + "$" + sum,
		"scrypt of a shift beyond 64":     "$scrypt$ln=70,r=8,p=1$" + salt + "$" + sum,
		"scrypt of many blocks":           "$scrypt$ln=1,r=4294967295,p=4294967295$" + salt + "$" + sum,
		"scrypt, p too high for the time": "$scrypt$ln=17,r=8,p=100$" + salt + "$" + sum,
		"pbkdf2 of a billion rounds":      "$pbkdf2-sha256$1000000000$" + salt + "$" + sum,
		"pbkdf2, long output":             "$pbkdf2$1000000$" + salt + "$" + strings.Repeat("A", 80),
		"pbkdf2 of no rounds":             "$pbkdf2-sha256$0$" + salt + "$" + sum,
		"pbkdf2, wrong length":            "$pbkdf2-sha256$i=1000,l=64$" + salt + "$" + sum,
		"plain text":                      "hunter2",
		"plain with a scheme":             "$plain$hunter2hunter2",
		"md5crypt":                        "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
		"empty":                           "",
		"only signs":                      "$$$$$$",
		"endless":                         "$argon2id$v=19$m=65536,t=2,p=1$" + strings.Repeat("A", 1<<20) + "$" + sum,
	} {
		_, err := parseHash(s)
		if !errors.Is(err, errHash) || fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	for _, hashes := range vectors {
		for _, h := range hashes {
			f.Add(h)
		}
	}
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			if fault.Of(err) != fault.Invalid {
				t.Errorf("%q: %v is not an Invalid fault", s, err)
			}
			return
		}
		if p.memoryKiB() > maxMemoryKiB {
			t.Errorf("%q takes %d KiB", s, p.memoryKiB())
		}
		switch p.scheme {
		case argon2id:
			if uint64(p.memory)*uint64(p.passes) > maxArgon2Passes || p.passes == 0 || p.lanes == 0 {
				t.Errorf("%q: %+v", s, p)
			}
		case bcrypted:
			if p.passes > maxBcryptCost {
				t.Errorf("%q: cost %d", s, p.passes)
			}
		case scrypted:
			if uint64(1)<<p.ln*uint64(p.r)*uint64(p.p) > maxScryptBlocks {
				t.Errorf("%q: %+v", s, p)
			}
		case pbkdf2ed:
			if p.passes == 0 || p.passes > maxPBKDF2Rounds {
				t.Errorf("%q: %+v", s, p)
			}
		default:
			t.Errorf("%q: no scheme", s)
		}
		if p.scheme != bcrypted && (len(p.sum) < minSumBytes || len(p.salt) < minSaltBytes) {
			t.Errorf("%q: %d bytes of sum, %d of salt", s, len(p.sum), len(p.salt))
		}
	})
}

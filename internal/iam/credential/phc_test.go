package credential

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

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

// exports are what other systems export, from the tests of Ory Kratos, Django, passlib and ASP.NET
// Core. Those of SHA-224 and SHA-384 are the published PBKDF2 vectors of 20 bytes.
var exports = map[string][]string{
	"test": {
		"$2a$12$o6hx.Wog/wvFSkT/Bp/6DOxCtLRTDj7lm9on9suF/WaCGNVHbkfL6", // Auth0 exports bcrypt too
		"$argon2i$v=19$m=65536,t=3,p=4$kk51rW/vxIVCYn+EG4kTSg$NyT88uraJ6im6dyha/M5jhXvpqlEdlS/9fEm7ScMb8c",
		"$pbkdf2-sha512$i=100000,l=32$bdHBpn7OWOivJMVJypy2UqR0UnaD5prQXRZevj/05YU$+wArTfv1a+bNGO1iZrmEdVjhA+lL11wF4/IxpgYfPwc",
		"$scrypt$ln=16384,r=8,p=1$2npRo7P03Mt8keSoMbyD/tKFWyUzjiQf2svUaNDSrhA=$MiCzNcIplSMqSBrm4HckjYqYhaVPPjTARTzwB1cVNYE=",
	},
	"8x4WjoDbSxJZdR": {"$firescrypt$ln=14,r=8,p=1$sPtDhWcd1MfdAw==$xbSou7FOl6mChCyzpCPIQ7tku7nsQMTFtyOZSXXd7tjBa4NtimOx7v42Gv2SfzPQu1oxM2/k4SsbOu73wlKe1A==$Bw==$YE0dO4bwD4JnJafh6lZZfkp1MtKzuKAXQcDCJNJNyeCHairWHKENOkbh3dzwaCdizzOspwr/FITUVlnOAwPKyw=="},
	// in the alphabet of URLs, as Firebase's Admin SDK writes it
	"user1password": {"$firescrypt$ln=14,r=8,p=1$42xEC-ixf3L2lw==$lSrfV15cpx95_sZS2W9c9Kp6i_LVgQNDNC_qzrCnh1SAyZvqmZqAjTdn3aoItz-VHjoZilo78198JAdRuid5lQ==$Bw==$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="},
	"test123": {
		"{SSHA}JFZFs0oHzxbMwkSJmYVeI8MnTDy/276a",
		"{SSHA256}czO44OTV17PcF1cRxWrLZLy9xHd7CWyVYplr1rOhuMlx/7IK",
		"{SSHA512}xPUl/px+1cG55rUH4rzcwxdOIPSB2TingLpiJJumN2xyDWN4Ix1WQG3ihnvHaWUE8MYNkvMi5rf0C9NYixHsE6Yh59M=",
	},
	"lètmein": {
		"pbkdf2_sha256$260000$seasalt$YlZ2Vggtqdc61YjArZuoApoBh9JNGYoDRBUGu6tcJQo=",
		"scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
		"bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC",
	},
	"my password": {
		"AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw",
		"AQAAAAEAA9CQAAAAIESkQuj2Du8Y+kbc5lcN/W/3NiAZFEm11P27nrSN5/tId+bR1SwV8CO1Jd72r4C08OLvplNlCDc3oQZ8efcW+jQ=",
		"AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==",
	},
	"password": {
		"$pbkdf2-sha224$i=1$c2FsdA$PBmMvblGS3hXlmvQW3vJK8HMTm4",
		"$pbkdf2-sha384$i=1$c2FsdA$wOFPBuSeMtc/n1Ld8dDFxxkWCSM",
	},
}

func TestHashesThatPeersExport(t *testing.T) {
	h := NewHasher(HasherConfig{Params: Params{Memory: 1024, Passes: 1, Lanes: 1}})
	for password, hashes := range exports {
		for _, s := range hashes {
			if _, err := parseHash(s); err != nil {
				t.Errorf("%s: %v", s, err)
				continue
			}
			if ok, rehash, err := h.Verify(t.Context(), s, secret.String(password)); !ok || !rehash || err != nil {
				t.Errorf("%s: ok %v, rehash %v, %v; want the password accepted and hashed again", s, ok, rehash, err)
			}
			if ok, _, err := h.Verify(t.Context(), s, secret.String(password+".")); ok || err != nil {
				t.Errorf("%s: a wrong password: %v, %v", s, ok, err)
			}
		}
	}
}

// An output longer than the digest costs no more: its first block decides.
func TestALongPBKDF2OutputCostsOneBlock(t *testing.T) {
	sum, err := pbkdf2.Key(sha1.New, "correct horse", []byte("saltsaltsaltsalt"), 1000, 64)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawStdEncoding.EncodeToString
	for _, rounds := range []int{1000, 1_300_000} {
		s := fmt.Sprintf("$pbkdf2-sha1$%d$%s$%s", rounds, b64([]byte("saltsaltsaltsalt")), b64(sum))
		p, err := parsePHC(s)
		if err != nil || len(p.sum) != sha1.Size {
			t.Errorf("%d rounds: %d bytes count, %v", rounds, len(p.sum), err)
		}
		if rounds > 1000 {
			continue
		}
		if ok, err := p.matches("correct horse"); !ok || err != nil {
			t.Errorf("the password: %v, %v", ok, err)
		}
	}
}

// An imported hash was made of what was typed, in whatever form of Unicode.
func TestAnImportedHashMatchesWhatWasTyped(t *testing.T) {
	h := NewHasher(HasherConfig{Params: Params{Memory: 1024, Passes: 1, Lanes: 1}})
	b64 := base64.RawStdEncoding.EncodeToString
	for _, typed := range []string{"pa\u0308sswo\u0308rd lang 12", "パスワード\u3000長い言葉", "secret\u00a0phrase 9",
		"\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165 99"} {
		sum, err := pbkdf2.Key(sha256.New, typed, []byte("saltsaltsaltsalt"), 1000, 32)
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("$pbkdf2-sha256$1000$%s$%s", b64([]byte("saltsaltsaltsalt")), b64(sum))
		if ok, rehash, err := h.Verify(t.Context(), s, secret.String(typed)); !ok || !rehash || err != nil {
			t.Errorf("%q: %v, rehash %v, %v", typed, ok, rehash, err)
		}
		// After that our own hash has the prepared form, which every keyboard gives.
		own, err := h.Hash(t.Context(), secret.String(typed))
		if err != nil {
			t.Fatal(err)
		}
		for _, again := range []string{typed, norm.NFC.String(typed)} {
			if ok, rehash, err := h.Verify(t.Context(), own, secret.String(again)); !ok || rehash || err != nil {
				t.Errorf("%q after the import: %v, rehash %v, %v", again, ok, rehash, err)
			}
		}
	}
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
		"argon2i of 4 GiB":                "$argon2i$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum,
		"scrypt, N no power of two":       "$scrypt$ln=16385,r=8,p=1$" + salt + "$" + sum,
		"scrypt, N of 64 GiB":             "$scrypt$ln=67108864,r=8,p=1$" + salt + "$" + sum,
		"firescrypt without its key":      "$firescrypt$ln=14,r=8,p=1$" + salt + "$" + sum + "$Bw",
		"firescrypt, a short key":         "$firescrypt$ln=14,r=8,p=1$" + salt + "$" + sum + "$Bw$AAAA",
		"SSHA without salt":               "{SSHA}" + strings.Repeat("A", 27),
		"LDAP without a salt":             "{SHA}" + strings.Repeat("A", 27),
		"Django of a billion rounds":      "pbkdf2_sha256$1000000000$seasalt$" + sum,
		"Django, a hash in a hash":        "bcrypt$$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum,
		"Django, another scheme":          "bcrypt_sha256$$scrypt$ln=10,r=8,p=1$" + salt + "$" + sum,
		"Django's scrypt of 64 GiB":       "scrypt$67108864$seasalt$8$1$" + sum,
		"ASP.NET, cut":                    "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4A=",
		"ASP.NET, an endless salt":        "AQAAAAIAAAAy/////+MwvhMwvhMwvhMwvhMwvhMwvhMwvhMwvh",
		"ASP.NET of many rounds":          "AQAAAAJ/////AAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw",
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
		"pbkdf2, above the bound":         "$pbkdf2$2000001$" + salt + "$" + strings.Repeat("A", 80),
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
		case argon2id, argon2i:
			if uint64(p.memory)*uint64(p.passes) > maxArgon2Passes || p.passes == 0 || p.lanes == 0 {
				t.Errorf("%q: %+v", s, p)
			}
		case bcrypted:
			if p.passes > maxBcryptCost {
				t.Errorf("%q: cost %d", s, p.passes)
			}
		case scrypted, firebase:
			if uint64(1)<<p.ln*uint64(p.r)*uint64(p.p) > maxScryptBlocks {
				t.Errorf("%q: %+v", s, p)
			}
		case pbkdf2ed:
			if p.passes == 0 || p.passes > maxPBKDF2Rounds {
				t.Errorf("%q: %+v", s, p)
			}
		case salted:
		default:
			t.Errorf("%q: no scheme", s)
		}
		if p.scheme != bcrypted && (len(p.sum) < minSumBytes || len(p.salt) < minSaltBytes) {
			t.Errorf("%q: %d bytes of sum, %d of salt", s, len(p.sum), len(p.salt))
		}
	})
}

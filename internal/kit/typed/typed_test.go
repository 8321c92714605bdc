package typed_test

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
)

// pasted are spellings of one text that look alike, or that a keyboard makes of it.
var pasted = map[string][]string{
	"ada@example.com": {
		"ada@example.com", " ada@example.com\n", "\u00a0ada@example.com\u00a0", "\ufeffada@example.com",
		"ada\u200b@example.com", "ada@exam\u00adple.com", "ada@example.com\u200d", "\u202aada@example.com\u202c",
		"ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ada@example.com\ufe0f", "a\u034fda@example.com", "\u3000ada@example.com",
	},
	"Ada Lovelace": {"Ada Lovelace", "\u2067Ada Lovelace\u2069"},
}

func TestText(t *testing.T) {
	for want, spellings := range pasted {
		for _, s := range spellings {
			if got := typed.Text(s); got != want {
				t.Errorf("Text(%+q) = %+q, want %q", s, got, want)
			}
		}
	}
}

func TestCode(t *testing.T) {
	for want, spellings := range map[string][]string{
		"123456": {
			"123456", "123 456", "123-456", " 1 2 3 4 5 6 ", "123\u00a0456", "123\u2009456", "123\u202f456",
			"123\u2011456", "123\u2013456", "123\u2212456", "\u200b123456", "123\u200d456", "\ufeff123456",
			"12\u00ad3456", "１２３４５６", "１２３　４５６", "123\t456", "123\r\n456",
			"\u0661\u0662\u0663\u0664\u0665\u0666", "\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6",
			"\u0967\u0968\u0969\u096a\u096b\u096c",
		},
		"k7mf29qdx3vt": {"k7mf-29qd-x3vt", "ｋ７ｍｆ－２９ｑｄ－ｘ３ｖｔ", "k7mf 29qd x3vt", "k7mf\u2010\u200b29qd\u2014x3vt"},
		"12x456":       {"12x456"},
		"":             {"", " ", "\u200b"},
	} {
		for _, s := range spellings {
			if got := typed.Code(s); got != want {
				t.Errorf("Code(%+q) = %+q, want %q", s, got, want)
			}
		}
	}
}

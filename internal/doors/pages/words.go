package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"strings"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

//go:embed locales/*.json
var localeFiles embed.FS

// locales are the languages of the pages. The first one is the default.
var locales = []string{"en", "de"}

// localeNames are the languages' own names.
var localeNames = map[string]string{"en": "English", "de": "Deutsch"}

var localeMatcher = language.NewMatcher([]language.Tag{language.English, language.German})

// message is a sentence in the reader's language.
type message struct {
	ID   string
	Args map[string]any
	// Raw is shown as it is: the words of a person, or of a package that is in English only.
	Raw string
}

// say returns a message. pairs are the names and values of its arguments. The value of Count
// chooses the plural form.
func say(id string, pairs ...any) message {
	m := message{ID: id}
	for i := 0; i+1 < len(pairs); i += 2 {
		if m.Args == nil {
			m.Args = map[string]any{}
		}
		m.Args[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// words holds the texts of one language.
type words struct {
	locale    string
	localizer *i18n.Localizer
}

// newWords reads the embedded files.
func newWords() (map[string]*words, error) {
	b := i18n.NewBundle(language.English)
	b.RegisterUnmarshalFunc("json", json.Unmarshal)
	out := map[string]*words{}
	for _, l := range locales {
		if _, err := b.LoadMessageFileFS(localeFiles, "locales/active."+l+".json"); err != nil {
			return nil, fmt.Errorf("pages: locale %s: %w", l, err)
		}
		out[l] = &words{locale: l, localizer: i18n.NewLocalizer(b, l)}
	}
	return out, nil
}

// text returns m in w's language. It returns the id of a missing message: ugly, but no reason to
// fail a sign-in. A test proves that none is missing.
func (w *words) text(m message) string {
	if m.Raw != "" || m.ID == "" {
		return m.Raw
	}
	args := m.Args
	for name, v := range args {
		if nested, ok := v.(message); ok {
			args = clone(args)
			args[name] = w.text(nested)
		}
	}
	s, err := w.localizer.Localize(&i18n.LocalizeConfig{MessageID: m.ID, TemplateData: args,
		PluralCount: args["Count"]})
	if err != nil {
		return m.ID
	}
	return s
}

func clone(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// funcs returns the template functions t (a sentence) and th (a sentence with the markup of our
// own locale files, its arguments escaped).
func (w *words) funcs() template.FuncMap {
	of := func(what any, pairs []any) (message, error) {
		switch v := what.(type) {
		case message:
			return v, nil
		case *message:
			return *v, nil
		case string:
			return say(v, pairs...), nil
		}
		return message{}, fmt.Errorf("pages: t takes a message or its id, not %T", what)
	}
	return template.FuncMap{
		"t": func(what any, pairs ...any) (string, error) {
			m, err := of(what, pairs)
			return w.text(m), err
		},
		"th": func(what any, pairs ...any) (template.HTML, error) {
			m, err := of(what, pairs)
			escaped := map[string]any{}
			for k, v := range m.Args {
				escaped[k] = html.EscapeString(fmt.Sprint(v))
			}
			return template.HTML(w.text(message{ID: m.ID, Args: escaped})), err
		},
	}
}

// ago returns how long before now a time was, as people say it.
func ago(now, then time.Time) message {
	switch d := now.Sub(then); {
	case d < 2*time.Minute:
		return say("time.now")
	case d < time.Hour:
		return say("time.minutes", "Count", int(d/time.Minute))
	case d < 48*time.Hour:
		return say("time.hours", "Count", int(d/time.Hour))
	default:
		return say("time.days", "Count", int(d/(24*time.Hour)))
	}
}

// Limits of an Accept-Language list. Further items do not count.
const (
	maxLanguages = 32
	maxLanguage  = 64 // bytes of an item
)

// readable returns the items of an Accept-Language list (RFC 9110 §12.5.4) that can be read. A
// program or proxy may send others, and the person's languages still count then.
func readable(list string) string {
	var good []string
	items := strings.SplitN(list, ",", maxLanguages+1)
	for _, item := range items[:min(len(items), maxLanguages)] {
		if len(item) > maxLanguage {
			continue
		}
		if tags, _, err := language.ParseAcceptLanguage(item); err == nil && len(tags) > 0 {
			good = append(good, item)
		}
	}
	return strings.Join(good, ",")
}

// chooseLocale returns the first language of wishes that the pages have, then fallback, then
// English. A wish may be a tag ("de-AT") or an Accept-Language list.
func chooseLocale(fallback string, wishes ...string) string {
	for _, wish := range wishes {
		tags, _, err := language.ParseAcceptLanguage(readable(wish))
		if err != nil || len(tags) == 0 {
			continue
		}
		if _, i, confidence := localeMatcher.Match(tags...); confidence >= language.Low {
			return locales[i]
		}
	}
	if _, ok := localeNames[fallback]; ok {
		return fallback
	}
	return locales[0]
}

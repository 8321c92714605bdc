package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"strconv"
)

// rgb is a colour in sRGB, 0..255 a channel.
type rgb [3]float64

// defaultAccent is used for a tenant without a readable accent colour.
const defaultAccent = "#2f55d4"

// The two surfaces of pages.css that accents are drawn on, in light and dark.
var (
	lightSurface = rgb{0xff, 0xff, 0xff}
	darkSurface  = rgb{0x1d, 0x21, 0x27} // the lighter of --surface and --well: the harder one
	lightWell    = rgb{0xf4, 0xf5, 0xf7} // the darker of the light ones
	black, white = rgb{0x10, 0x12, 0x16}, rgb{0xff, 0xff, 0xff}
)

// textContrast and edgeContrast are the lowest contrasts that WCAG 2.2 accepts for text (1.4.3)
// and for the parts of a control (1.4.11).
const (
	textContrast = 4.5
	edgeContrast = 3.0
)

// parseColour reads "#rrggbb".
func parseColour(s string) (rgb, bool) {
	if len(s) != 7 || s[0] != '#' {
		return rgb{}, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	if err != nil {
		return rgb{}, false
	}
	return rgb{float64(n >> 16), float64(n >> 8 & 0xff), float64(n & 0xff)}, true
}

func (c rgb) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0])), int(math.Round(c[1])), int(math.Round(c[2])))
}

// luminance is the relative luminance of WCAG 2.2.
func (c rgb) luminance() float64 {
	lin := func(v float64) float64 {
		v = math.Round(v) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*lin(c[0]) + 0.7152*lin(c[1]) + 0.0722*lin(c[2])
}

// contrast is the contrast ratio of WCAG 2.2, 1..21.
func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	if x < y {
		x, y = y, x
	}
	return (x + 0.05) / (y + 0.05)
}

func (c rgb) mix(o rgb, share float64) rgb {
	for i := range c {
		c[i] += (o[i] - c[i]) * share
	}
	return c
}

// towards mixes c with to until it has the required contrast on each of grounds.
func (c rgb) towards(to rgb, least float64, grounds ...rgb) rgb {
	for share := 0.0; share < 1; share += 0.02 {
		m, ok := c.mix(to, share), true
		for _, g := range grounds {
			ok = ok && contrast(m, g) >= least
		}
		if ok {
			return m
		}
	}
	return to
}

// palette holds the colours that pages.css derives from a tenant's accent colour. Any colour is
// accepted: text on it and text in it are chosen so that they can be read.
type palette struct {
	Accent, OnAccent, Hover rgb // a button, the text on it, and the button under the pointer
	Edge, EdgeDark          rgb // a button's border: visible on the surface whatever the accent
	Ink, InkDark            rgb // links and focus rings on the surface
}

func paletteOf(accent string) palette {
	c, ok := parseColour(accent)
	if !ok {
		c, _ = parseColour(defaultAccent)
	}
	p := palette{Accent: c, OnAccent: white}
	if contrast(c, white) < textContrast {
		p.OnAccent = black
		if contrast(c, black) < textContrast {
			// A middle tone on which neither reaches 4.5:1 is darkened until white does.
			p.OnAccent = white
			p.Accent = c.towards(black, textContrast, white)
		}
	}
	// Under the pointer the button moves away from its text, so contrast only grows.
	if p.OnAccent == white {
		p.Hover = p.Accent.mix(rgb{0, 0, 0}, 0.14)
	} else {
		p.Hover = p.Accent.mix(white, 0.25)
	}
	p.Edge = p.Accent.towards(black, edgeContrast, lightSurface)
	p.EdgeDark = p.Accent.towards(white, edgeContrast, darkSurface)
	p.Ink = c.towards(black, textContrast, lightSurface, lightWell)
	p.InkDark = c.towards(white, textContrast, darkSurface)
	return p
}

// sheet is an inline style sheet or script, and the source expression that allows exactly these
// bytes in the content security policy.
type sheet struct {
	HTML   template.HTML
	Source string
}

// sheet returns the style sheet that sets a tenant's colours.
func (p palette) sheet() sheet {
	css := fmt.Sprintf(":root{--accent:%s;--on-accent:%s;--accent-hover:%s;--accent-edge:%s;--accent-ink:%s}",
		p.Accent, p.OnAccent, p.Hover, p.Edge, p.Ink)
	dark := "--accent-edge:" + p.EdgeDark.String() + ";--accent-ink:" + p.InkDark.String()
	css += `@media (prefers-color-scheme:dark){:root:not([data-theme="light"]){` + dark +
		`}}:root[data-theme="dark"]{` + dark + `}`
	return sheetOf(css) // every byte comes from the format above and from hexadecimal numbers
}

// sheetOf returns the inline style sheet with the text css, which must be ours.
func sheetOf(css string) sheet { return inlineOf("style", css) }

// scriptOf returns the inline script with the text js, which must be ours.
func scriptOf(js string) sheet { return inlineOf("script", js) }

func inlineOf(element, text string) sheet {
	sum := sha256.Sum256([]byte(text))
	return sheet{
		HTML:   template.HTML("<" + element + ">" + text + "</" + element + ">"),
		Source: "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
}

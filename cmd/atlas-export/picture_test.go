//go:build unix

package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

const picture = "../../docs/watch.svg"

// The picture of docs/callers.md shows a real session of the program on a pseudo-terminal,
// through a gateway and against a simulated Atlas. The clock of the simulation makes each frame
// the same in each run. make docs draws the picture.
func TestPicture(t *testing.T) {
	w := throughGateway(t, sim.Config{Now: started})
	w.must(t, "buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole)
	const columns = 112
	s := openTerminal(t, columns)
	args := []string{"exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot, "--bucket", "acme-exports", "--wait"}
	s.run(t, append(w.environ(w.owner), "LANG=C.UTF-8", "TERM=xterm"), w.atlas.Now, append(args, "--interval", "10ms")...)
	times := []string{
		"Queued  0s",
		"0/42 collections  30s",
		"7/42 collections  2m25s  3.7/min  9m35s left",
		"14/42 collections  4m20s  3.7/min  7m40s left",
		"21/42 collections  6m15s  3.7/min  5m45s left",
		"28/42 collections  8m10s  3.7/min  3m50s left",
		"35/42 collections  10m05s  3.7/min  1m55s left",
		"42/42 collections  12m00s",
	}
	for i, at := range times {
		switch i {
		case 0:
		case 1:
			w.atlas.Advance(30 * time.Second)
		default:
			w.atlas.Advance(115 * time.Second)
		}
		s.expect(t, at, func(output string) bool { return frameAt(output, at) != "" })
	}
	if status := s.wait(t); status != exitOK {
		t.Fatalf("exit status %d", status)
	}
	// Ids are random.
	output := regexp.MustCompile(`^export/[0-9a-f]{24}`).ReplaceAllString(s.text(), "export/6b022709d9f2a4b685bab126")
	lines := strings.Split(show(output), "\n")
	var drawn []string
	for _, at := range times {
		drawn = append(drawn, frameAt(output, at))
	}
	svg := draw(columns, []string{"$ atlas-export " + strings.Join(args, " "), lines[0]}, drawn, lines[2])
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(picture, []byte(svg), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(svg, string(there)); diff != "" {
		t.Errorf("docs/watch.svg is not what make docs draws: -session +picture:\n%s", diff)
	}
}

// frameAt returns the frame, in colour, that ends with a text.
func frameAt(output, text string) string {
	for frame := range strings.SplitSeq(output, "\r") {
		if frame, redrawn := strings.CutSuffix(frame, "\x1b[K"); redrawn && strings.HasSuffix(sgr.ReplaceAllString(frame, ""), text) {
			return frame
		}
	}
	return ""
}

// The size of a character cell, in pixels.
const (
	characterWidth  = 7.8
	characterHeight = 20
)

// draw draws a terminal: lines that stay, a line that goes through frames, and a last line that
// appears with the last frame. Without animation, the picture shows the end.
func draw(columns int, lines, frames []string, last string) string {
	const (
		margin = 14
		still  = 2 // how many times as long the last frame is shown
	)
	var b strings.Builder
	width, height := float64(columns)*characterWidth+2*margin, (len(lines)+2)*characterHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" xml:space="preserve" role="img" aria-labelledby="title">
  <title id="title">atlas-export creates an export and follows it until %s</title>
  <style>
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; fill: #e6edf3; white-space: pre; }
    .c36 { fill: #39c5cf; } .c32 { fill: #3fb950; } .c2 { fill: #3d444d; }
    .frame { visibility: hidden; } .frame.end { visibility: visible; }
    @media (prefers-reduced-motion: no-preference) {
      .frame { animation-duration: %ds; animation-iteration-count: infinite; animation-timing-function: step-end; }
`, width, height, escapeXML(frameText(frames[len(frames)-1])), len(frames)+still)
	share := func(i int) float64 { return 100 * float64(i) / float64(len(frames)+still) }
	for i := range frames {
		end := ""
		if i < len(frames)-1 {
			end = fmt.Sprintf(" %.1f%% { visibility: hidden; }", share(i+1))
		}
		if i == 0 {
			fmt.Fprintf(&b, "      #f0 { animation-name: f0; } @keyframes f0 { 0%% { visibility: visible; }%s }\n", end)
			continue
		}
		fmt.Fprintf(&b, "      #f%d { animation-name: f%d; } @keyframes f%d { 0%% { visibility: hidden; } %.1f%% { visibility: visible; }%s }\n", i, i, i, share(i), end)
	}
	fmt.Fprintf(&b, "    }\n  </style>\n  <rect width=\"100%%\" height=\"100%%\" rx=\"8\" fill=\"#0d1117\"/>\n")
	y := margin + characterHeight - 6
	for _, line := range lines {
		drawLine(&b, margin, y, line)
		y += characterHeight
	}
	for i, frame := range frames {
		class := "frame"
		if i == len(frames)-1 {
			class = "frame end"
		}
		fmt.Fprintf(&b, "  <g id=\"f%d\" class=\"%s\">\n", i, class)
		drawLine(&b, margin, y, frame)
		if i == len(frames)-1 {
			drawLine(&b, margin, y+characterHeight, last)
		}
		b.WriteString("  </g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawLine draws each run of one colour at a fixed place, whatever the font. It draws bars as
// rectangles, since fonts differ most in them.
func drawLine(b *strings.Builder, margin, y int, line string) {
	column, class := 0, ""
	for line != "" {
		if at := sgr.FindStringIndex(line); at != nil && at[0] == 0 {
			if class = line[2 : at[1]-1]; class == "0" {
				class = ""
			}
			line = line[at[1]:]
			continue
		}
		run := line
		if at := sgr.FindStringIndex(line); at != nil {
			run = line[:at[0]]
		}
		line = line[len(run):]
		n := utf8.RuneCountInString(run)
		words := strings.TrimLeft(run, " ") // not all viewers draw spaces in front of them
		indent := n - utf8.RuneCountInString(words)
		x, width := float64(margin)+float64(column+indent)*characterWidth, float64(n-indent)*characterWidth
		column += n
		attribute := ""
		if class != "" {
			attribute = ` class="c` + class + `"`
		}
		switch {
		case words == "":
		case strings.Trim(words, "█░") == "":
			fmt.Fprintf(b, "    <rect%s x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"13\"/>\n", attribute, x, y-11, width)
		default:
			fmt.Fprintf(b, "    <text%s x=\"%.1f\" y=\"%d\" textLength=\"%.1f\">%s</text>\n", attribute, x, y, width, escapeXML(words))
		}
	}
}

// frameText returns a frame without colours and bar.
func frameText(frame string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r == '█' || r == '░' {
			return -1
		}
		return r
	}, sgr.ReplaceAllString(frame, ""))), " ")
}

func escapeXML(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // writing to a builder never fails
	return b.String()
}

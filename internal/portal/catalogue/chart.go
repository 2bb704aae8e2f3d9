package catalogue

import (
	"maps"
	"slices"
)

// Chart is a bar plot of rows by year, drawn by the page as SVG in a field of 720 × 220 units.
type Chart struct {
	Bars  []Bar
	Max   int64
	Ticks []Tick
}

// Bar is one year.
type Bar struct {
	Year          string
	Rows          int64
	X, Y, W, H    int
	Middle, Label int // where the year stands
}

// Tick is a line of the vertical scale.
type Tick struct {
	Value int64
	Y     int
}

const (
	chartLeft, chartTop, chartBottom = 76, 12, 188
	chartWidth                       = 720
)

// yearChart lays out the plot, or returns nil when there is nothing to plot.
func yearChart(years map[string]int64) *Chart {
	if len(years) == 0 {
		return nil
	}
	c := &Chart{}
	for _, n := range years {
		c.Max = max(c.Max, n)
	}
	top := niceCeiling(c.Max)
	height := chartBottom - chartTop
	y := func(n int64) int { return chartBottom - int(float64(n)/float64(top)*float64(height)+0.5) }
	for i := int64(0); i <= 4; i++ {
		v := top * i / 4
		c.Ticks = append(c.Ticks, Tick{v, y(v)})
	}
	step := (chartWidth - chartLeft) / len(years)
	w := max(min(step*7/10, 60), 2)
	for i, year := range slices.Sorted(maps.Keys(years)) {
		x := chartLeft + i*step + (step-w)/2
		c.Bars = append(c.Bars, Bar{Year: year, Rows: years[year], X: x, Y: y(years[year]), W: w, H: chartBottom - y(years[year]),
			Middle: x + w/2, Label: chartBottom + 20})
	}
	return c
}

// niceCeiling is the smallest of 4, 8, 20, 40, 80, 200, … that is not below n, so that quarters are round.
func niceCeiling(n int64) int64 {
	for base := int64(4); ; base *= 10 {
		for _, f := range []int64{1, 2, 5} {
			if base*f >= n {
				return base * f
			}
		}
	}
}

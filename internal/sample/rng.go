package sample

import "math"

// rng is splitmix64 (Steele, Lea, Flood 2014): one addition and one mix per draw, any seed is good, so
// every household and person can have a stream of its own.
type rng struct{ s uint64 }

func mix64(z uint64) uint64 {
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// stream returns the random stream number n of a purpose.
func stream(seed uint64, purpose uint64, n int64) rng {
	return rng{mix64(mix64(seed^purpose*0xd6e8feb86659fd93) + uint64(n)*0x9e3779b97f4a7c15)}
}

// Purposes keep the streams of one number apart.
const (
	streamHouseholds = 1 + iota
	streamLife
	streamDirt
	streamCohorts
)

func (r *rng) u64() uint64 {
	r.s += 0x9e3779b97f4a7c15
	return mix64(r.s)
}

// float returns a number in [0, 1).
func (r *rng) float() float64 { return float64(r.u64()>>11) * 0x1p-53 }

// n returns a number in [0, k); k ≤ 2^31.
func (r *rng) n(k int) int { return int((r.u64() >> 33) * uint64(k) >> 31) }

// between returns a number in [lo, hi].
func (r *rng) between(lo, hi int) int { return lo + r.n(hi-lo+1) }

func (r *rng) chance(p float64) bool { return r.float() < p }

// poisson draws a count with a small mean (Knuth's product of uniforms).
func (r *rng) poisson(mean float64) int {
	if mean <= 0 {
		return 0
	}
	limit, k, p := math.Exp(-mean), 0, 1.0
	for {
		p *= r.float()
		if p <= limit || k > 400 {
			return k
		}
		k++
	}
}

// gap draws the days to the next event of a process with the given events per year; at least 1.
func (r *rng) gap(perYear float64) int32 {
	if perYear <= 0 {
		return 1 << 20
	}
	d := -math.Log(1-r.float()) * 365.25 / perYear
	if d > 1<<20 {
		return 1 << 20
	}
	return 1 + int32(d)
}

// weighted draws an index with probability proportional to the steps of cum, which holds running sums.
func (r *rng) weighted(cum []float64) int {
	x := r.float() * cum[len(cum)-1]
	lo, hi := 0, len(cum)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if cum[mid] > x {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// runningSum turns weights into what weighted draws from.
func runningSum(w []float64) []float64 {
	out, sum := make([]float64, len(w)), 0.0
	for i, x := range w {
		sum += x
		out[i] = sum
	}
	return out
}

package sample

// A NIR (numéro d'inscription au répertoire) is sex 1, year 2, month 2, place 5, order 3, key 2. The key
// is 97 minus the first 13 digits modulo 97; for it the Corsican departments 2A and 2B read as 19 and 18
// (INSEE; linkage reference, section 2).
type nir [15]byte

// makeNIR builds a valid NIR. first is '1' or '2', or '7'/'8' for a provisional number.
func makeNIR(first byte, birth day, place string, order int) nir {
	c := dateOf(birth)
	var n nir
	n[0] = first
	yy := int(c.year) % 100
	n[1], n[2] = digit(yy/10), digit(yy%10)
	n[3], n[4] = digit(int(c.month)/10), digit(int(c.month)%10)
	copy(n[5:10], place)
	// Corsica was one department, 20, for people born before 1976.
	if place[0] == '2' && (place[1] == 'A' || place[1] == 'B') && c.year < 1976 {
		n[6] = '0'
	}
	n[10], n[11], n[12] = digit(order/100), digit(order/10%10), digit(order%10)
	n.setKey()
	return n
}

func digit(n int) byte { return byte('0' + n) }

func (n *nir) setKey() {
	key := nirKey(n[:13])
	n[13], n[14] = digit(key/10), digit(key%10)
}

// nirKey computes the control key of the first 13 characters.
func nirKey(body []byte) int {
	rest := 0
	for i, c := range body {
		switch {
		case i == 5 && body[5] == '2' && (body[6] == 'A' || body[6] == 'B'):
			c = '1'
		case i == 6 && c == 'A':
			c = '9'
		case i == 6 && c == 'B':
			c = '8'
		}
		rest = (rest*10 + int(c-'0')) % 97
	}
	return 97 - rest
}

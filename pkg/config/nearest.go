package config

import "fmt"

// unknown says that there is no such name, and which was probably meant.
func unknown(where, name string, names func(*Setting) string) error {
	best, distance := "", len(name)/2+1
	for i := range Settings {
		candidate := names(&Settings[i])
		if d := editDistance(name, candidate, distance); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return fmt.Errorf("%s: there is no setting %.100q: `weir config` shows all", where, name)
	}
	return fmt.Errorf("%s: there is no setting %.100q: is it %s?", where, name, best)
}

// editDistance is Levenshtein's: the letters to add, remove or change. It gives up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

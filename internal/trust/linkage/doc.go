// Package linkage finds which person each record of a delivery is about, by a deterministic cascade, and
// keeps the persons with the identity traits they are known by. Package trust runs it as a job, one
// delivery at a time, and asks it for the person behind a citizen's token.
//
// Rules, strongest first; the first that gives exactly one person decides:
//
//	nir           the person's own valid NIR, with an agreeing birth date or sex (see agrees)
//	birth_traits  birth name + given name + full birth date + sex
//	used_traits   the same with the used name on either side
//	owner_nir     NIR of the opener of rights + birth date + sex + twin rank + given name
//	local_id      the same dataset's own number of the person
//
// Never are two records of different own NIRs one person, nor two twins. Two records of one person table are
// one person only if they carry the same NIR or stand under different openers of rights: in the French claims
// data a child has a record under each parent, and one of its own later (SNDS, "fiche bénéficiaire"). Where more than one person fits, the record gets a person of its own and
// is counted as ambiguous: a missed link costs recall, a false one tells a researcher something untrue.
//
// Here is no payload, no hub pseudonym and no key.
package linkage

// Package identity reads the identity traits of one person record as holders write them and brings them
// to a form in which two spellings of the same fact are equal: the French NIR with its key, names, dates,
// sex. Package linkage calls it for each record, and package trust for a citizen's token.
//
// It decides nothing about who is who, keeps nothing, and its errors never repeat the value they are about.
package identity

// Package sample writes a sample country: the files that the holders of a small, invented France would
// keep, and the truth about the people behind them. It is called by `mitral sample` and `mitral demo`
// and by tests and benchmarks that need data of national shape. It must never hold a zone's behaviour,
// read a zone's data, or use a real person's data: every name, number and event comes from a seed.
//
// The same options give the same bytes, whatever the number of processors: every household and every
// person draws from a random stream of its own, and files are cut by person number, not by worker.
package sample

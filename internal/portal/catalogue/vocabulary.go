package catalogue

import (
	"iter"
	"maps"
)

// Closed lists. Their labels are messages: catalogue.category.a, catalogue.theme.cancer, …
var (
	// Categories are the letters of Art. 51(1) of Regulation (EU) 2025/327.
	Categories = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"}

	// Themes are the hub's health themes.
	Themes = []string{"ageing", "cancer", "cardiovascular", "diabetes", "disability", "emergency", "environment", "genetics",
		"health_services", "infection", "medicines", "mental_health", "mortality", "mother_child", "prevention",
		"rare_disease", "transplantation", "work", "youth"}

	// Types are kinds of dataset.
	Types = []string{"claims", "registry", "cohort", "survey", "records", "reference"}

	// Frequencies are how often a dataset is updated.
	Frequencies = []string{"continuous", "daily", "weekly", "monthly", "quarterly", "annual", "irregular", "never"}

	// AccessRights are the levels a description may have.
	AccessRights = []Access{AccessPublic, AccessRestricted, AccessNonPublic}
)

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

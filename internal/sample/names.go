package sample

import (
	"math"
	"strings"
)

// Given names by sex and by the year from which they were in fashion. The lists are this project's own;
// the first of a list is the most frequent.
var givenNames = [2][4]string{
	{
		"Jean Pierre André Michel Robert René Louis Marcel Roger Georges Maurice Raymond Henri Paul Lucien Albert Gaston Émile Léon Fernand Marius Gilbert Guy Claude Yves Joseph François Jacques Bernard Raoul Édouard Eugène Jean-Marie Jean-Claude Jean-Louis Hervé",
		"Philippe Patrick Alain Gérard Christian Daniel Thierry Pascal Éric Bruno Didier Serge Dominique Gilles Denis Joël Marc Olivier Laurent Hugues Frédéric Franck Stéphane Régis Loïc Rémi Jean-Pierre Jean-Paul Jean-Luc Jean-François Jean-Michel Noël Yannick Fabrice Xavier Mohamed",
		"Nicolas Julien Guillaume Sébastien Mathieu Alexandre Thomas Romain Vincent Maxime Antoine Jérôme Cédric Anthony Benoît Clément Kévin Florian Mickaël Ludovic Damien Arnaud Aurélien Grégory Raphaël Gaël Jérémy Baptiste Quentin Karim Mehdi Samuel Adrien Jean-Baptiste Pierre-Yves Rachid",
		"Gabriel Lucas Louis Hugo Enzo Nathan Jules Léo Adam Arthur Ethan Noah Mathis Théo Tom Sacha Paul Raphaël Timéo Yanis Rayan Gabin Maël Liam Nolan Axel Noé Isaac Eliott Ibrahim Naël Côme Marius Basile Jean-Loup Amir",
	},
	{
		"Marie Jeanne Marguerite Germaine Louise Yvonne Madeleine Suzanne Marcelle Denise Simone Andrée Paulette Jacqueline Yvette Odette Lucienne Ginette Renée Henriette Thérèse Raymonde Geneviève Huguette Monique Colette Hélène Gisèle Solange Fernande Marie-Louise Marie-Thérèse Éliane Régine Cécile Berthe",
		"Françoise Sylvie Martine Catherine Isabelle Nathalie Christine Brigitte Véronique Patricia Chantal Annie Michèle Valérie Danielle Corinne Laurence Pascale Évelyne Béatrice Élisabeth Sophie Florence Agnès Dominique Joëlle Marie-Christine Marie-Claude Marie-France Anne-Marie Maryse Josiane Mireille Fatima Odile Noëlle",
		"Céline Aurélie Émilie Stéphanie Élodie Julie Virginie Sandrine Laetitia Audrey Sabrina Mélanie Caroline Delphine Marion Pauline Camille Laura Anaïs Charlotte Amandine Gaëlle Claire Lucie Marine Élise Hélène Fanny Justine Sarah Nadia Samira Leïla Anne-Sophie Marie-Laure Noémie",
		"Emma Léa Jade Louise Chloé Alice Manon Inès Lina Zoé Camille Rose Anna Mila Julia Léna Ambre Eva Juliette Romane Lou Agathe Clémence Nina Mia Lola Salomé Yasmine Aïcha Maëlys Capucine Éléonore Apolline Adèle Anne-Lise Marie-Lou",
	},
}

// commonSurnames lead the list of surnames; the others are built from syllables.
const commonSurnames = `Martin Bernard Robert Richard Durand Dubois Moreau Simon Laurent Michel Lefèvre Leroy Roux David Bertrand Morel Fournier Girard Bonnet Dupont
Lambert Fontaine Rousseau Vincent Muller Lefebvre Faure André Mercier Blanc Guérin Boyer Garnier Chevalier François Legrand Gauthier Garcia Perrin Robin Clément Morin
Nicolas Henry Roussel Mathieu Gautier Masson Marchand Duval Denis Dumont Marie Lemaire Noël Meyer Dufour Meunier Brun Blanchard Giraud Joly Rivière Lucas Brunet
Gaillard Barbier Arnaud Martinez Gérard Roche Renard Schmitt Roy Leroux Colin Vidal Caron Picard Roger Fabre Aubert Lemoine Renaud Dumas Lacroix Olivier Philippe Bourgeois
Pierre Benoît Rey Leclerc Payet Rolland Leclercq Guillaume Lecomte Lopez Jean Dupuy Guillot Hubert Berger Carpentier Sanchez Dupuis Moulin Louis Deschamps Huet Vasseur
Perez Boucher Fleury Royer Klein Jacquet Adam Paris Poirier Marty Aubry Guyot Carré Charles Renault Charpentier Ménard Maillard Baron Bertin Bailly Hervé Schneider
Fernandez Le-Gall Collet Léger Bouvier Julien Prévost Millet Perrot Daniel Le-Roux Cousin Germain Breton Besson Langlois Rémy Le-Goff Pelletier Lévêque Perrier Leblanc Barré
Lebrun Marchal Weber Mallet Hamon Boulanger Jacob Monnier Michaud Rodriguez Guichard Gillet Étienne Grondin Poulain Tessier Chevallier Collin Chauvin Da-Silva Bouchet Gay Lemaître
Bénard Maréchal Humbert Reynaud Antoine Hoarau Perret Barthélemy Cordier Pichon Lejeune Gilbert Lamy Delaunay Pasquier Carlier Laporte Diallo Traoré Benali Nguyen Haddad Kaya Ferreira Santos
Amrani Bouzid Cissé Konaté Camara Belkacem Mansouri Yilmaz Kowalski Popescu Tran Chen Rossi Santini Luciani Casanova Paoli Mattei Hoffmann Zimmermann Kieffer`

var (
	surnameStart  = strings.Fields("Bar Ber Bou Bri Cas Chan Char Che Cor Cos Dau Del Des Dro Fau Fer Fon Fou Gar Gau Gir Gou Gran Gué Hau Jac Jou Lab Lac Lam Lan Lav Mal Mar Mau Mon Mor Nau Pas Pel Per Pom Pou Ram Rav Ric Roc Rou Sal Sau Ser Tar Thé Tou Val Var Ver Vil")
	surnameMiddle = strings.Fields("a an ar au be bi bon ce cha che da de di do fi fo ga ge go la le li lo ma me mi na ne ni ra re ri ro sa se ta te ti tu va ve vi")
	surnameEnd    = strings.Fields("ard aud aut ault bert bot card cher court dier dot don eau ert et eux gnac gnon guet lac land let lier lin lon mand mont nard nay net nier nin not rand rel reau rier rin ron roux sac sard sel son tel tier tin ton vais val vel vier ville vin")
)

// surnameCount is how many surnames the country has. One in five persons of a million then shares a
// surname with fewer than ten others, as in the real register.
const surnameCount = 60000

// surnames from the most to the least frequent; load fills it.
var surnames []string

func makeSurnames() []string {
	out := make([]string, 0, surnameCount)
	seen := make(map[string]bool, surnameCount)
	for _, s := range strings.Fields(commonSurnames) {
		s = strings.ReplaceAll(s, "Le-", "Le ")
		s = strings.ReplaceAll(s, "Da-", "Da ")
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	r := stream(0x5eed, 0, 0) // the list is part of the program, not of the country: no option changes it
	for len(out) < surnameCount {
		s := surnameStart[r.n(len(surnameStart))]
		if r.chance(0.7) {
			s += surnameMiddle[r.n(len(surnameMiddle))]
		}
		s += surnameEnd[r.n(len(surnameEnd))]
		switch p := r.float(); {
		case p < 0.02:
			s = "Le " + s
		case p < 0.035:
			s = "De " + s
		case p < 0.045:
			s = "D'" + s
			if !strings.ContainsAny(s[2:3], "AEIOUH") {
				s = s[2:]
			}
		}
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// surname draws from a shifted Zipf law: rank k has weight 1/(k+90), so that the first name is borne by
// about 0.2 % of the people.
func surname(r *rng) string {
	const shift = 90
	k := int((shift+1)*math.Pow((surnameCount+shift)/(shift+1.0), r.float())) - shift - 1
	return surnames[min(max(k, 0), surnameCount-1)]
}

var givenByEra = splitGivenNames()

func splitGivenNames() (out [2][4][]string) {
	for s := range givenNames {
		for e := range givenNames[s] {
			out[s][e] = strings.Fields(givenNames[s][e])
		}
	}
	return out
}

// givenName draws a given name that was in fashion at birth. Some parents look back one generation.
func givenName(r *rng, sex uint8, birthYear int) string {
	era := 0
	switch {
	case birthYear >= 2000:
		era = 3
	case birthYear >= 1972:
		era = 2
	case birthYear >= 1946:
		era = 1
	}
	if era > 0 && r.chance(0.12) {
		era--
	}
	list := givenByEra[sex-1][era]
	k := int(float64(len(list)) * math.Pow(r.float(), 1.6))
	first := list[min(k, len(list)-1)]
	if r.chance(0.035) && !strings.Contains(first, "-") {
		second := list[r.n(len(list))]
		if second != first && !strings.Contains(second, "-") {
			return first + "-" + second
		}
	}
	return first
}

// fold writes a name as most registers keep it: upper case without accents.
func fold(dst []byte, s string) []byte {
	for _, r := range s {
		dst = append(dst, foldRune(r)...)
	}
	return dst
}

func foldRune(r rune) string {
	switch r {
	case 'à', 'â', 'ä', 'À', 'Â':
		return "A"
	case 'é', 'è', 'ê', 'ë', 'É', 'È', 'Ê':
		return "E"
	case 'î', 'ï', 'Î':
		return "I"
	case 'ô', 'ö', 'Ô':
		return "O"
	case 'ù', 'û', 'ü', 'Û':
		return "U"
	case 'ç', 'Ç':
		return "C"
	}
	if r >= 'a' && r <= 'z' {
		r -= 'a' - 'A'
	}
	return asciiUpper[r&127 : r&127+1]
}

var asciiUpper = func() string {
	b := make([]byte, 128)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

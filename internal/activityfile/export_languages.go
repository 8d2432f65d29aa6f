package activityfile

import (
	"slices"
	"strings"
	"time"
)

// Strava writes activities.csv in the athlete's language. The tables below have the names
// found in published exports. For Italian, of which none is published, they have the likely
// translations. A column whose name is unknown counts as missing, which the reader reports.

// exportLanguage is a column of the table below.
type exportLanguage int

const (
	english        exportLanguage = iota
	beforeJuly2019                // English, with other names
	german
	french
	spanish
	portuguese
	dutch
	japanese
	italian
	exportLanguages int = iota
)

const languageNames = "English, German, French, Spanish, Portuguese, Dutch, Japanese or Italian"

// exportColumns are the names of the columns that are read: "" if unknown, alternatives
// separated by a bar. The first name of a row is the one used in the program.
var exportColumns = [][exportLanguages]string{
	{"Activity ID", "id", "Aktivitäts-ID", "ID de l'activité", "ID de actividad", "ID da atividade", "Activiteits-ID", "アクティビティID", "ID attività|ID dell'attività"},
	{"Activity Date", "date", "Aktivitätsdatum", "Date de l'activité", "Fecha de la actividad", "Data da atividade", "Datum van activiteit", "アクティビティ実行日", "Data attività|Data dell'attività"},
	{"Activity Name", "name", "Name der Aktivität", "Nom de l'activité", "Nombre de la actividad", "Nome da atividade", "Naam activiteit|Naam van activiteit", "アクティビティ名", "Nome attività|Nome dell'attività"},
	{"Activity Type", "type", "Aktivitätsart", "Type d'activité", "Tipo de actividad", "Tipo de atividade", "Activiteitstype", "アクティビティタイプ", "Tipo di attività|Tipo attività"},
	{"Elapsed Time", "elapsed_time", "Verstrichene Zeit", "Temps écoulé", "Tiempo transcurrido", "Tempo decorrido", "Verstreken tijd", "経過時間", "Tempo trascorso"},
	{"Moving Time", "", "Bewegungszeit", "Durée de déplacement", "Tiempo en movimiento", "Tempo de movimentação", "Beweegtijd", "移動時間", "Tempo in movimento|Tempo di movimento"},
	{"Distance", "distance", "Distanz", "Distance", "Distancia", "Distância", "Afstand", "距離", "Distanza"},
	{"Average Speed", "", "Durchschnittliche Geschwindigkeit", "Vitesse moyenne", "Velocidad promedio", "Velocidade média", "Gemiddelde snelheid", "", "Velocità media"},
	{"Elevation Gain", "", "Höhenzunahme", "Dénivelé positif", "Desnivel positivo", "Ganho de elevação", "Totale stijging|Hoogtewinst", "獲得標高", "Dislivello|Dislivello positivo"},
	{"Max Heart Rate", "", "Max. Herzfrequenz", "Fréquence cardiaque max.", "", "Frequência cardíaca máxima", "Max. hartslag", "", "Frequenza cardiaca massima|Frequenza cardiaca max"},
	{"Average Heart Rate", "", "Durchschnittliche Herzfrequenz", "Fréquence cardiaque moyenne", "Ritmo cardiaco promedio|Ritmo cardíaco promedio", "Frequência cardíaca média", "Gemiddelde hartslag", "", "Frequenza cardiaca media"},
	{"Average Temperature", "", "Durchschnittliche Temperatur", "Température moyenne", "", "", "", "", "Temperatura media"},
	{"Perceived Exertion", "", "Gefühlte Anstrengung", "", "Esfuerzo Percibido", "", "Ervaren inspanning", "", "Sforzo percepito"},
}

// decimalComma reports whether displayed numbers are written as 1.234,5. Other
// columns, which are most, have a decimal point in every language.
func (l exportLanguage) decimalComma() bool {
	return l != english && l != beforeJuly2019 && l != japanese
}

// foldHeader makes names equal that differ in case, surrounding spaces and apostrophes.
func foldHeader(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(name), "’", "'"))
}

// headerLanguage detects the language of a header by the columns that identify every
// activity. It returns false if there is none.
func headerLanguage(header []string) (exportLanguage, bool) {
	for language := range exportLanguage(exportLanguages) {
		columns := columnIndexes(header, language)
		if len(columns["Activity ID"]) > 0 && len(columns["Activity Date"]) > 0 {
			return language, true
		}
	}
	return english, false
}

// columnIndexes returns the indexes of the columns by their English names; some columns
// occur twice.
func columnIndexes(header []string, language exportLanguage) map[string][]int {
	columns := map[string][]int{}
	for _, names := range exportColumns {
		for name := range strings.SplitSeq(names[language], "|") {
			for i, column := range header {
				if name != "" && column == foldHeader(name) {
					columns[names[english]] = append(columns[names[english]], i)
				}
			}
		}
	}
	return columns
}

// months are the beginnings of the names of months in these languages. Each means the
// same month in all of them.
var months = map[string]time.Month{
	"jan": 1, "ene": 1, "gen": 1, "feb": 2, "fév": 2, "fev": 2, "mar": 3, "mär": 3, "mrt": 3, "maa": 3, "apr": 4, "avr": 4, "abr": 4,
	"may": 5, "mai": 5, "mei": 5, "mag": 5, "jun": 6, "juin": 6, "giu": 6, "jul": 7, "juil": 7, "lug": 7, "aug": 8, "aoû": 8, "ago": 8,
	"sep": 9, "set": 9, "oct": 10, "okt": 10, "out": 10, "ott": 10, "nov": 11, "dec": 12, "déc": 12, "dic": 12, "dez": 12,
}

// parseMonth reads the name of a month or its abbreviation.
func parseMonth(name string) time.Month {
	letters := []rune(strings.ToLower(name))
	for _, n := range []int{4, 3} {
		if len(letters) >= n {
			if month, ok := months[string(letters[:n])]; ok {
				return month
			}
		}
	}
	return 0
}

// exportTypes translates activity types in lower case into English.
var exportTypes = map[string]string{
	"lauf": "Run", "laufen": "Run", "traillauf": "Trail Run", "virtueller lauf": "Virtual Run",
	"radfahrt": "Ride", "radfahren": "Ride", "virtuelle radfahrt": "Virtual Ride", "mountainbikefahrt": "Mountain Bike Ride", "mountainbike-fahrt": "Mountain Bike Ride",
	"gravelfahrt": "Gravel Ride", "schotterfahrt": "Gravel Ride", "e-bike-fahrt": "E-Bike Ride", "e-bike-radfahrt": "E-Bike Ride",
	"schwimmen": "Swim", "wandern": "Hike", "wanderung": "Hike", "spaziergang": "Walk", "gehen": "Walk", "gewichtstraining": "Weight Training", "krafttraining": "Weight Training",
	"training": "Workout", "rudern": "Rowing", "kajakfahren": "Kayaking", "kanufahrt": "Canoeing", "ski alpin": "Alpine Ski", "skitouren": "Backcountry Ski",
	"snowboarden": "Snowboard", "eislaufen": "Ice Skate",

	"course à pied": "Run", "vélo": "Ride", "vélo virtuel": "Virtual Ride", "natation": "Swim", "marche": "Walk", "randonnée": "Hike",
	"entraînement aux poids": "Weight Training", "entraînement": "Workout", "ski nordique": "Nordic Ski",

	"carrera": "Run", "bicicleta": "Ride", "caminata": "Walk", "senderismo": "Hike", "natación": "Swim", "entrenamiento": "Workout",
	"entrenamiento con pesas": "Weight Training", "remo": "Rowing",

	"corrida": "Run", "corrida em trilha": "Trail Run", "pedalada": "Ride", "pedalada virtual": "Virtual Ride", "caminhada": "Walk", "trilha": "Hike", "natação": "Swim",
	"treino": "Workout", "treino com peso": "Weight Training",

	"hardloopsessie": "Run", "fietsrit": "Ride", "virtuele fietsrit": "Virtual Ride", "zwemmen": "Swim", "wandeling": "Walk", "wandelen": "Walk", "hiken": "Hike",

	"corsa": "Run", "corsa su sentiero": "Trail Run", "corsa virtuale": "Virtual Run", "ciclismo": "Ride", "pedalata": "Ride", "uscita in bici": "Ride",
	"pedalata virtuale": "Virtual Ride", "camminata": "Walk", "escursione": "Hike", "escursionismo": "Hike", "nuoto": "Swim", "allenamento": "Workout",
	"allenamento con i pesi": "Weight Training", "sollevamento pesi": "Weight Training", "canottaggio": "Rowing", "sci alpino": "Alpine Ski",

	"ランニング": "Run", "トレイルラン": "Trail Run", "バーチャルラン": "Virtual Run", "サイクリング": "Ride", "バーチャルライド": "Virtual Ride", "水泳": "Swim", "スイム": "Swim",
	"ウォーキング": "Walk", "ハイキング": "Hike", "ウェイトトレーニング": "Weight Training", "ワークアウト": "Workout", "ヨガ": "Yoga",
}

// sameTypes are English names that exports in other languages also use.
var sameTypes = []string{
	"run", "ride", "swim", "walk", "hike", "trail run", "virtual run", "virtual ride", "gravel ride", "mountain bike ride", "e-bike ride", "weight training", "workout",
	"crossfit", "hiit", "yoga", "pilates", "golf", "tennis", "padel", "snowboard",
}

// englishType returns the English name of an activity type, false if its load is
// unknown. In English exports every type is accepted, as in the application.
func (l exportLanguage) englishType(name string) (string, bool) {
	folded := strings.ToLower(name)
	switch translated, known := exportTypes[folded]; {
	case l == english || l == beforeJuly2019 || name == "":
		return name, true
	case known:
		return translated, true
	}
	return name, slices.Contains(sameTypes, folded)
}

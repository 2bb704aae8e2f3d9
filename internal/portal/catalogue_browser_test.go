package portal_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/browsertest"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
)

// nationalSchemas are a few tables of the SNDS as an import brings them.
func nationalSchemas(t *testing.T) *catalogue.TableSchemas {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"schemas/DCIR/ER_PRS_F.json": `{"name":"ER_PRS_F","title":"Table des prestations","produit":"DCIR","fields":[
			{"name":"EXE_SOI_DTD","description":"Date de début d'exécution des soins","type":"date","nomenclature":"-","dateCreated":"2006"},
			{"name":"PRS_NAT_REF","description":"Nature de la prestation de référence","type":"integer","nomenclature":"IR_NAT_V","dateCreated":"2006","dateMissing":["2010"]},
			{"name":"BEN_SEX_COD","description":"Code sexe du bénéficiaire","type":"integer","nomenclature":"IR_SEX_V"}]}`,
		"schemas/DCIR/ER_PHA_F.json": `{"name":"ER_PHA_F","title":"Table affinée des produits de santé","produit":"DCIR","fields":[
			{"name":"PHA_PRS_C13","description":"Code CIP du médicament","type":"integer","nomenclature":"-"}]}`,
		"schemas/PMSI/T_MCOaaB.json": `{"name":"T_MCOaaB","title":"Séjours, partie fixe","produit":"PMSI MCO","fields":[
			{"name":"DGN_PAL","description":"Diagnostic principal","type":"string","nomenclature":"IR_CIM_V"}]}`,
		"nomenclatures/IR_CIM_V.csv": "CIM_COD;CIM_LIB\nE110;Diabète sucré de type 2, avec coma\nE112;Diabète sucré de type 2, avec complications rénales\nC499;Tumeur maligne du tissu conjonctif\n",
		"nomenclatures/IR_NAT_V.csv": "NAT_COD;NAT_LIB\n1111;Consultation\n3313;Pharmacie 65 %\n",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := catalogue.ReadTableSchemas(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inspect opens an address in every language and at two widths.
func inspect(t *testing.T, ctx context.Context, h *hub, name, path string) {
	t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	for _, lang := range []string{"fr", "fi", "en"} {
		browsertest.Width(t, ctx, 1200)
		browsertest.Open(t, ctx, h.url+path+sep+"lang="+lang)
		browsertest.Axe(t, ctx)
		browsertest.Screenshot(t, ctx, name+"-"+lang)
		browsertest.Width(t, ctx, 320)
		browsertest.Fits(t, ctx)
	}
	browsertest.Width(t, ctx, 1200)
}

// act signs the browser in as one of the demonstration's people.
func act(t *testing.T, ctx context.Context, h *hub, name string) {
	t.Helper()
	browsertest.Open(t, ctx, h.url+"/demo?lang=en")
	browsertest.Do(t, ctx, browsertest.Click(name), browsertest.See("header//span", name))
}

func TestCatalogueInABrowser(t *testing.T) {
	ctx := browsertest.New(t)
	h := configure(t, true).start()
	if _, err := catalogue.PostTableSchemas(t.Context(), h.as("operator", ""), h.url, nationalSchemas(t)); err != nil {
		t.Fatal(err)
	}
	years := map[string]int64{"2019": 820_000, "2020": 640_000, "2021": 905_000, "2022": 951_000, "2023": 987_000, "2024": 1_012_000}
	body, err := json.Marshal(contract.DeliveryNotice{Delivery: "d1", Holder: "cnam", Dataset: "dcir", Rows: map[string]int64{"ER_PRS_F": 4_100_000, "ER_PHA_F": 1_215_000}, Persons: 19_840, Years: years})
	if err != nil {
		t.Fatal(err)
	}
	notice, err := json.Marshal(contract.Notice{ID: "n1", Zone: "engine", Kind: "delivery", At: time.Now(), Body: body})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.zoneClient("engine").Post(h.orders+"/orderbook/v1/notices", "application/json", strings.NewReader(string(notice)))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	for range 600 { // the index follows within moments
		if _, page, _ := h.get(h.as("researcher", ""), "/datasets?q=E112"); strings.Contains(page, "/code-lists/") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	errors := browsertest.Console(ctx)
	for name, path := range map[string]string{
		"datasets": "/datasets", "search": "/datasets?q=diabete", "none": "/datasets?q=xylophone&category=e", "dataset": "/datasets/cnam/dcir",
		"table": "/datasets/cnam/dcir/tables/ER_PRS_F", "variable": "/datasets/cnam/dcir/tables/ER_PRS_F/PRS_NAT_REF",
		"versions": "/datasets/cnam/dcir/versions", "codes": "/code-lists/IR_CIM_V", "api": "/api/docs",
	} {
		inspect(t, ctx, h, name, path)
	}
	act(t, ctx, h, "Inès Moreau")
	browsertest.Open(t, ctx, h.url+"/datasets/cnam/dcir?lang=en")
	browsertest.Do(t, ctx, browsertest.Click("Add to my application"), browsertest.See("h1", "Data for my application"))
	inspect(t, ctx, h, "basket", "/basket")
	inspect(t, ctx, h, "feasibility", "/feasibility")

	act(t, ctx, h, "Julie Roux")
	inspect(t, ctx, h, "holder", "/holder")
	inspect(t, ctx, h, "new", "/holder/datasets/new")
	if lines := errors(); len(lines) > 0 {
		t.Errorf("the browser reports: %s", strings.Join(lines, "\n"))
	}
	browsertest.Open(t, ctx, h.url+"/holder/datasets/new?lang=en")
	browsertest.Do(t, ctx, browsertest.Click("Create draft"), chromedp.WaitVisible(chromedp.CSS(`.govuk-error-summary`)))
	browsertest.Axe(t, ctx)
	browsertest.Do(t, ctx, chromedp.SendKeys(chromedp.CSS(`#f-title`), "Dental care"), chromedp.SendKeys(chromedp.CSS(`#f-dataset`), "dental"),
		browsertest.Click("Create draft"), browsertest.See("h2", "Not ready to publish"))
	inspect(t, ctx, h, "draft", "/holder/datasets/cnam/dental")
	for _, section := range []string{"about", "content", "access", "structure"} {
		inspect(t, ctx, h, "edit-"+section, "/holder/datasets/cnam/dental/edit/"+section)
	}
}

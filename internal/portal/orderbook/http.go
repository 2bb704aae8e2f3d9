package orderbook

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
)

const (
	maxWait     = 25 * time.Second
	maxDocument = 8 << 20 // a provision report names each table and file
)

// Handler serves the order book. It belongs on a listener that asks for client certificates: each
// route looks at the caller's, so that a zone sees its own orders only.
func (b *Book) Handler() http.Handler {
	zones, enclave := httpx.OnlyZones(innerZones...), httpx.OnlyZones(contract.ZoneEnclave)
	mux := http.NewServeMux()
	mux.Handle("GET /orderbook/v1/orders", zones(b.answer(b.getOrders)))
	mux.Handle("POST /orderbook/v1/receipts", zones(b.answer(b.postReceipt)))
	mux.Handle("POST /orderbook/v1/notices", zones(b.answer(b.postNotice)))
	mux.Handle("PUT /orderbook/v1/exports/{export}/files/{name}", enclave(b.answer(b.putExportFile)))
	mux.Handle("POST /orderbook/v1/exports/{export}", enclave(b.answer(b.postExport)))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		httpx.Problem(w, r, http.StatusNotFound, "not_found", "there is nothing at this address")
	})
	return mux
}

// answer turns an error into a problem document that says nothing internal.
func (b *Book) answer(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		var refusal *contract.Refusal
		var known *httpx.Error
		switch {
		case errors.As(err, &refusal):
			httpx.Problem(w, r, statusOf[refusal.Code], refusal.Code, refusal.Reason)
		case errors.As(err, &known):
			httpx.Fail(w, r, known)
		case errors.Is(err, ErrUnknownOrder):
			httpx.Problem(w, r, http.StatusNotFound, "unknown_order", "This zone has no such order.")
		case r.Context().Err() != nil: // the caller went away
		default:
			b.log.Error("order book", "route", r.Pattern, "error", err)
			httpx.Fail(w, r, err)
		}
	})
}

// statusOf gives the HTTP status of each refusal that this room speaks.
var statusOf = map[string]int{
	"invalid":       http.StatusBadRequest,
	"bad_signature": http.StatusBadRequest,
	"forbidden":     http.StatusForbidden,
	"altered":       http.StatusConflict,
	"closed":        http.StatusConflict,
	"incomplete":    http.StatusConflict,
	"too_large":     http.StatusRequestEntityTooLarge,
}

func (b *Book) getOrders(w http.ResponseWriter, r *http.Request) error {
	_, zone := httpx.PeerOf(r)
	after, err1 := number(r, "after")
	wait, err2 := number(r, "wait")
	if err1 != nil || err2 != nil {
		return contract.Refuse("invalid", "after and wait are whole numbers from 0")
	}
	hold := min(time.Duration(min(wait, 60))*time.Second, maxWait)
	list, err := b.Orders(r.Context(), zone, after, hold)
	if err != nil {
		return err
	}
	if list == nil {
		list = []contract.NumberedOrder{}
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"orders": list})
	return nil
}

func number(r *http.Request, name string) (int64, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err
}

func (b *Book) postReceipt(w http.ResponseWriter, r *http.Request) error {
	_, zone := httpx.PeerOf(r)
	var receipt contract.Receipt
	if err := httpx.Decode(r, maxDocument, &receipt); err != nil {
		return err
	}
	if err := b.Receive(r.Context(), zone, receipt); err != nil {
		return err
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"status": "stored"})
	return nil
}

func (b *Book) postNotice(w http.ResponseWriter, r *http.Request) error {
	_, zone := httpx.PeerOf(r)
	var n contract.Notice
	if err := httpx.Decode(r, maxDocument, &n); err != nil {
		return err
	}
	if err := b.Notice(r.Context(), zone, n); err != nil {
		return err
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"status": "stored"})
	return nil
}

func (b *Book) putExportFile(w http.ResponseWriter, r *http.Request) error {
	err := b.putFile(r.Context(), r.PathValue("export"), r.PathValue("name"), func(f io.Writer) error {
		_, _, err := httpx.ReadDigest(r, b.maxFile, f)
		return err
	})
	if err != nil {
		return err
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"status": "stored"})
	return nil
}

func (b *Book) postExport(w http.ResponseWriter, r *http.Request) error {
	var e contract.Export
	if err := httpx.Decode(r, maxDocument, &e); err != nil {
		return err
	}
	if e.ID != r.PathValue("export") {
		return contract.Refuse("invalid", "export: the id is not the address's")
	}
	if err := b.closeExport(r.Context(), e); err != nil {
		return err
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"status": "released"})
	return nil
}

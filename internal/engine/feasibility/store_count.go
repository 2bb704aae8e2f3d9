package feasibility

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
)

func (c *Counter) createObjectors(ctx context.Context) error {
	_, err := c.db.ExecContext(ctx, "CREATE OR REPLACE TABLE objectors (h UUID)")
	return err
}

// persons counts the cohort's distinct persons who are not on the roll.
func (c *Counter) persons(ctx context.Context, q Question, roll contract.Digest) (n int64, err error) {
	for {
		c.mu.RLock()
		if c.roll == roll {
			defer c.mu.RUnlock()
			err = c.db.QueryRowContext(ctx, "SELECT count(DISTINCT h) FROM ("+q.Cohort.Persons()+") p WHERE NOT EXISTS (SELECT 1 FROM objectors o WHERE o.h = p.h)").Scan(&n)
			return n, err
		}
		c.mu.RUnlock()
		if err := c.load(ctx, q.Roll, roll); err != nil {
			return 0, err
		}
	}
}

// load exchanges the roll in the database.
func (c *Counter) load(ctx context.Context, rows []byte, roll contract.Digest) error {
	if len(rows)%contract.TicketSize != 0 {
		return fmt.Errorf("objection roll: %d bytes are not whole pseudonyms", len(rows))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roll = "" // none, should the exchange fail half-way
	if err := c.createObjectors(ctx); err != nil {
		return err
	}
	err := c.db.Append(ctx, "objectors", func(add func(...driver.Value) error) error {
		for ; len(rows) > 0; rows = rows[contract.TicketSize:] {
			if err := add(duck.Bytes16(rows)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.roll = roll
	return nil
}

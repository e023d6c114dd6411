package clickhouse

import (
	"context"
	"errors"
	"fmt"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"hotsync/internal/fault"
)

// verdict says what to do about a failed insert.
type verdict int

const (
	passing   verdict = iota // the server, the network or a person: the same again later
	condemned                // the rows: some of them will never go in
	unclear                  // nobody said: a row's fault if other rows do go in
)

// passingCodes are server errors that say nothing about the rows. The first
// group passes by itself: it is the list of the Kafka Connect sink with what
// PeerDB adds (peers.md 1.1), and what a server that starts, stops or is short
// of something says. The second group needs a person: schema, rights, disk.
var passingCodes = map[int32]bool{
	3: true, 107: true, 159: true, 164: true, 202: true, 203: true, 209: true, 210: true,
	241: true, 242: true, 252: true, 285: true, 319: true, 425: true, 999: true, 517: true,
	32: true, 74: true, 75: true, 76: true, 95: true, 96: true, 101: true, 102: true, 106: true, 148: true, 173: true, 198: true,
	225: true, 236: true, 286: true, 313: true, 341: true, 364: true, 373: true, 394: true, 439: true, 499: true,
	625: true, 668: true, 689: true, 722: true, 733: true, 735: true,

	10: true, 16: true, 20: true, 46: true, 47: true, 48: true, 50: true, 60: true, 62: true, 73: true,
	81: true, 115: true, 162: true, 192: true, 193: true, 194: true, 195: true, 201: true, 218: true, 243: true, 291: true, 344: true, 392: true,
	452: true, 497: true, 516: true, 519: true, 674: true, 719: true,
}

// rowCodes are server errors that a row brings about by what is in it.
var rowCodes = map[int32]bool{
	6: true, 26: true, 27: true, 38: true, 41: true, 43: true, 53: true, 69: true, 70: true, 72: true, 117: true,
	128: true, 130: true, 131: true, 190: true, 321: true, 349: true, 407: true, 467: true, 469: true, 691: true,
}

// judge reads the error of an insert.
func judge(err error) verdict {
	var ex *ch.Exception
	if errors.As(err, &ex) {
		switch {
		case passingCodes[ex.Code]:
			return passing
		case rowCodes[ex.Code]:
			return condemned
		}
		return unclear
	}
	if errors.Is(err, ch.ErrBatchInvalid) {
		return condemned // the driver could not encode a value
	}
	return passing // no answer from the server
}

// answered reports whether the server said what became of the statement.
// Without an answer the rows of an insert may be there or not.
func answered(err error) bool {
	var ex *ch.Exception
	return errors.As(err, &ex)
}

// classify gives an error of the driver its class.
func classify(err error) error {
	var ex *ch.Exception
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case !errors.As(err, &ex):
		return fault.As(fault.Unavailable, err)
	}
	switch ex.Code {
	case 192, 193, 194, 195, 291, 497, 516:
		return fault.As(fault.Forbidden, err)
	case 60, 81:
		return fault.As(fault.NotFound, fmt.Errorf("%w (hotsync makes its schema when it starts: was the database changed since?)", err))
	}
	if passingCodes[ex.Code] {
		return fault.As(fault.Unavailable, err)
	}
	return fault.As(fault.Refused, err)
}

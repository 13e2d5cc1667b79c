package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// checkLog refuses a write-ahead log of SQLite's that was damaged. SQLite takes the first frame that is
// not whole for the end of the log, as it is after a crash, and forgets what follows.
//
// What a crash leaves behind the end belongs to one transaction, since each is on stable storage before
// the next one begins. So if a whole frame that ends a transaction stands behind the end, and another
// one behind that, then records were committed that SQLite would forget. The format is described at
// https://sqlite.org/fileformat2.html#the_write_ahead_log.
func checkLog(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 64<<10)
	var header [32]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return nil // it has no frame
	}
	sum := checksum{order: binary.LittleEndian}
	switch binary.BigEndian.Uint32(header[:]) {
	case 0x377f0682:
	case 0x377f0683:
		sum.order = binary.BigEndian
	default:
		return nil // SQLite says what it is
	}
	size := binary.BigEndian.Uint32(header[8:])
	if size < 512 || size > 64<<10 {
		return nil
	}
	sum.read(header[24:])
	frame := make([]byte, 24+size)
	for ended, committed := false, false; ; {
		if _, err := io.ReadFull(in, frame); err != nil {
			return nil
		}
		sum.add(frame[:8])
		sum.add(frame[24:])
		whole := sum.is(frame[16:24]) && string(frame[8:16]) == string(header[16:24])
		if whole && ended && committed {
			return fmt.Errorf("%w: %s has committed records behind a frame that is not whole", errDamaged, path)
		}
		ended = ended || !whole
		committed = whole && (committed || binary.BigEndian.Uint32(frame[4:]) != 0)
		sum.read(frame[16:24]) // the next one is checked whatever this one is
	}
}

// checksum is that of a write-ahead log, which goes on from frame to frame.
type checksum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

func (c *checksum) add(content []byte) {
	for ; len(content) >= 8; content = content[8:] {
		c.s0 += c.order.Uint32(content) + c.s1
		c.s1 += c.order.Uint32(content[4:]) + c.s0
	}
}

// read goes on from a checksum that is stored, and is compares with one.
func (c *checksum) read(stored []byte) {
	c.s0, c.s1 = binary.BigEndian.Uint32(stored), binary.BigEndian.Uint32(stored[4:])
}

func (c *checksum) is(stored []byte) bool {
	return c.s0 == binary.BigEndian.Uint32(stored) && c.s1 == binary.BigEndian.Uint32(stored[4:])
}

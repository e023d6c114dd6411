package embedded

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

// checkIntegrity compares a file with a subresource integrity of the form
// sha512-BASE64.
func checkIntegrity(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read download: %w", err)
	}
	got := "sha512-" + base64.StdEncoding.EncodeToString(sum.Sum(nil))
	if got != want {
		return fmt.Errorf("%w: got %s, want %s", ErrIntegrity, got, want)
	}
	return nil
}

// unpackOne writes one member of a gzipped tar archive to target.
func unpackOne(ctx context.Context, archive, member, target string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	files := tar.NewReader(gz)
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("archive has no %s", member)
		}
		if err != nil {
			return err
		}
		if head.Name == member && head.Typeflag == tar.TypeReg {
			return writeTo(target, untilDone(ctx, files))
		}
	}
}

func writeTo(target string, from io.Reader) error {
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	// On disk before it is renamed into place: a power cut must not leave a
	// library of the right size and the wrong content.
	return errors.Join(err, out.Sync(), out.Close())
}

// untilDone is a reader of r that fails once ctx has ended.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(b)
	})
}

type readFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// The oldest ClickHouse that may serve: JSON columns are complete since 25.3.
const oldestMajor, oldestMinor = 25, 3

// serverVersionOK reads what `clickhouse server --version` prints, such as
// "ClickHouse server version 26.7.2.1 (official build).".
func serverVersionOK(printed string) error {
	m := regexp.MustCompile(`version (\d+)\.(\d+)`).FindStringSubmatch(printed)
	if m == nil {
		return fmt.Errorf("does not say its version (%.80q)", printed)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fmt.Errorf("version %d.%d is older than %d.%d", major, minor, oldestMajor, oldestMinor)
	}
	return nil
}

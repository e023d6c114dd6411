package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Version is the Apache Kafka that Start runs.
const Version = "4.1.0"

const minJava = 17

const pom = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>hotsync</groupId>
  <artifactId>kafkatest</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>` + Version + `</version>
    </dependency>
  </dependencies>
</project>
`

// CacheDir is where Fetch keeps Kafka: $HOTSYNC_CACHE, or hotsync in the user's
// cache folder, and the version below it.
func CacheDir() (string, error) {
	base := os.Getenv("HOTSYNC_CACHE")
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a cache folder: %w: set HOTSYNC_CACHE", err)
		}
		base = filepath.Join(user, "hotsync")
	}
	return filepath.Join(base, "kafka-"+Version), nil
}

// Fetch returns the folder with Kafka's jars and downloads them with Maven when
// they are not there yet: about 43 MB, once. A download that was cut short leaves
// nothing behind that would be taken for a whole one.
func Fetch(ctx context.Context) (string, error) {
	if err := checkJava(ctx); err != nil {
		return "", err
	}
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	libs := filepath.Join(dir, "libs")
	if _, err := os.Stat(libs); err == nil {
		return libs, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", errors.New("kafka is not in the cache and Maven (mvn) is not installed to fetch it: install maven")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), []byte(pom), 0o644); err != nil {
		return "", fmt.Errorf("write the Maven project: %w", err)
	}
	got := filepath.Join(tmp, "libs")
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+got)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch kafka %s with Maven: %w\n%s", Version, err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(got, libs); err != nil {
		if _, there := os.Stat(libs); there == nil { // another process was quicker
			return libs, nil
		}
		return "", fmt.Errorf("put kafka into the cache: %w", err)
	}
	return libs, nil
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

func checkJava(ctx context.Context) error {
	java, err := exec.LookPath("java")
	if err != nil {
		return fmt.Errorf("java is not installed: kafka needs Java %d or later", minJava)
	}
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask java for its version: %w", err)
	}
	m := javaVersion.FindSubmatch(out)
	if m == nil {
		return nil // an unusual build; kafka will tell
	}
	if n, _ := strconv.Atoi(string(m[1])); n < minJava {
		return fmt.Errorf("java %d is installed: kafka needs Java %d or later", n, minJava)
	}
	return nil
}

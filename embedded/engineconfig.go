package embedded

import (
	"encoding/xml"
	"fmt"
	"path/filepath"
)

// engineFile is the ClickHouse server configuration that both the library and
// a clickhouse binary read. Names are ClickHouse's own.
type engineFile struct {
	XMLName       xml.Name        `xml:"clickhouse"`
	Logger        *loggerSection  `xml:"logger,omitempty"`
	Path          string          `xml:"path"`
	TmpPath       string          `xml:"tmp_path"`
	UserFilesPath string          `xml:"user_files_path"`
	ListenHost    string          `xml:"listen_host"`
	HTTPPort      int             `xml:"http_port"`
	TCPPort       int             `xml:"tcp_port"`
	Timezone      string          `xml:"timezone"`
	MaxMemory     int64           `xml:"max_server_memory_usage"`
	MaxMemoryPart float64         `xml:"max_server_memory_usage_to_ram_ratio"`
	MarkCache     int64           `xml:"mark_cache_size"`
	SchedulePool  int             `xml:"background_schedule_pool_size"`
	Macros        macroSection    `xml:"macros"`
	MergeTree     mergeSection    `xml:"merge_tree"`
	CrashReports  enabledSection  `xml:"send_crash_reports"`
	Users         *usersSection   `xml:"users,omitempty"`
	Profiles      *defaultSection `xml:"profiles,omitempty"`
	Quotas        *defaultSection `xml:"quotas,omitempty"`
}

type (
	loggerSection struct {
		Level   string `xml:"level"`
		Console int    `xml:"console"`
	}
	macroSection struct {
		Start string `xml:"hotsync_start"`
	}
	mergeSection struct {
		FsyncInsert    int `xml:"fsync_after_insert"`
		FsyncDirectory int `xml:"fsync_part_directory"`
	}
	enabledSection struct {
		Enabled bool `xml:"enabled"`
	}
	usersSection struct {
		Default userSection `xml:"default"`
	}
	userSection struct {
		Password string   `xml:"password"`
		Networks []string `xml:"networks>ip"`
		Profile  string   `xml:"profile"`
		Quota    string   `xml:"quota"`
	}
	defaultSection struct {
		Default struct{} `xml:"default"`
	}
)

const (
	defaultMemory = 2 << 30
	markCache     = 128 << 20
)

// render writes the configuration for one start. The start's token is a macro,
// so that readiness can tell this engine from another one on the same port.
func (cfg EngineConfig) render(ports enginePorts, token string) ([]byte, error) {
	data := filepath.Join(cfg.DataDir, "data")
	f := engineFile{
		Path:          data + "/",
		TmpPath:       filepath.Join(data, "tmp") + "/",
		UserFilesPath: filepath.Join(data, "user_files") + "/",
		ListenHost:    "127.0.0.1",
		HTTPPort:      ports.http,
		TCPPort:       ports.tcp,
		Timezone:      "UTC",
		MaxMemory:     cfg.MemoryLimit,
		MaxMemoryPart: 0.5,
		MarkCache:     markCache,
		SchedulePool:  8,
		Macros:        macroSection{Start: token},
	}
	if f.MaxMemory == 0 {
		f.MaxMemory = defaultMemory
	}
	if !cfg.NoSync {
		f.MergeTree = mergeSection{FsyncInsert: 1, FsyncDirectory: 1}
	}
	if cfg.Binary != "" {
		// The library is quiet and has its user built in; a server is neither.
		f.Logger = &loggerSection{Level: "warning", Console: 1}
		f.Users = &usersSection{Default: userSection{Networks: []string{"127.0.0.1"}, Profile: "default", Quota: "default"}}
		f.Profiles, f.Quotas = &defaultSection{}, &defaultSection{}
	}
	raw, err := xml.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render engine configuration: %w", err)
	}
	return append(raw, '\n'), nil
}

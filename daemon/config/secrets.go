package config

import (
	"errors"
	"fmt"
	"os"
)

// Secrets reads every secret, key and certificate file that the enabled parts
// need and forgets them again. The error names each that cannot be had, with its
// key.
func (c Config) Secrets() error {
	_, errKafka := c.KafkaConfig()
	_, errClickHouse := c.ClickHouseConfig()
	_, errLimio := c.LimioConfig()
	errs := []error{errKafka, c.Kafka.TLS.readable("kafka.tls"), errClickHouse, c.ClickHouse.TLS.readable("clickhouse.tls"), c.readableKeys()}
	if c.Stripe.Enabled {
		_, errClient := c.StripeClientConfig()
		_, errDecoder := c.StripeDecoderConfig()
		errs = append(errs, errClient, errDecoder)
	}
	if c.Zuora.Enabled {
		_, err := c.ZuoraConfig()
		errs = append(errs, err)
	}
	return errors.Join(append(errs, errLimio)...)
}

func (t TLS) readable(path string) error {
	if !t.Enabled {
		return nil
	}
	return errors.Join(
		readable(path+".ca_file", t.CAFile),
		readable(path+".cert_file", t.CertFile),
		readable(path+".key_file", t.KeyFile),
	)
}

func (c Config) readableKeys() error {
	var errs []error
	for i, p := range c.Login.Providers {
		errs = append(errs, readable(fmt.Sprintf("login.providers[%d].jwks_file", i), p.JWKSFile))
	}
	return errors.Join(errs...)
}

func readable(path, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

package config

import (
	"fmt"
	"testing"
)

func TestTry(t *testing.T) {
	y, err := Default().YAML()
	fmt.Println(string(y), err)
	c, p := Parse("x.yaml", y)
	_ = c
	for _, q := range p {
		fmt.Println(q)
	}
	s, err := Schema()
	fmt.Println(string(s)[:6000], err)
}

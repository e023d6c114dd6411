// Package embedded gives one machine what a cluster gives many: a broker that
// speaks the Kafka protocol and a real ClickHouse, with nothing installed and
// nothing left running.
//
// Both keep their data in a folder and find it again after a restart, after a
// kill -9 of this process and after a kill -9 of the engine. Both listen on
// 127.0.0.1 only. Neither outlives the process that started it: the broker is
// part of it, and the engine is a child that ends when its standard input
// does, which happens even when the parent could not say goodbye.
//
// The package knows no topic, no table and no configuration file.
package embedded

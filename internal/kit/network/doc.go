// Package network says which client addresses count as one, and divides bounded resources among
// them.
//
// A resource of the whole server, such as requests answered at once, must not be used up by one
// client. Places bounds it twice: in all, and for each network. It keeps nothing of a network that
// holds no place.
package network

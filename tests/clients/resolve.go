// Looks each argument up as Go programs do: `NAME ADDRESSES MILLISECONDS`, a line each; `-` where there is no such name.
// GODEBUG=netdns says by which of Go's two resolvers.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

func main() {
	for _, name := range os.Args[1:] {
		begun := time.Now()
		addresses, err := net.DefaultResolver.LookupHost(context.Background(), name)
		took := time.Since(begun).Milliseconds()
		found := strings.Join(addresses, ",")
		var fault *net.DNSError
		isFault := errors.As(err, &fault)
		// Before 1.20 cgo did not tell that a name without addresses is one that is not found.
		if isFault && (fault.IsNotFound || fault.Err == "No address associated with hostname") {
			found = "-"
		} else if err != nil {
			found = "fault:" + strings.ReplaceAll(err.Error(), " ", "_")
		}
		fmt.Println(name, found, took)
	}
}

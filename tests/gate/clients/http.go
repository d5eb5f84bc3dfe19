// HTTP with Go's net/http: standard input has METHOD PATH BODY on each line; printed are the status and body of each.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	base, token := os.Args[1], os.Args[2]
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), " ", 3)
		request, err := http.NewRequest(parts[0], base+parts[1], strings.NewReader(parts[2]))
		check(err)
		request.Header.Set("Authorization", "Bearer "+token)
		if parts[2] != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		answer, err := http.DefaultClient.Do(request)
		check(err)
		body, err := io.ReadAll(answer.Body)
		check(err)
		answer.Body.Close()
		fmt.Println(answer.StatusCode, string(body))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

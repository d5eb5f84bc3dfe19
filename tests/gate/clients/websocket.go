// WebSocket with Go's gorilla/websocket: each line of standard input has a number and a message. Printed are as many
// messages as the number says, and at last the close code.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/gorilla/websocket"
)

func main() {
	socket, _, err := websocket.DefaultDialer.Dial(os.Args[1], nil)
	check(err)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var count int
		text := lines.Text()
		number, message, _ := strings.Cut(text, " ")
		fmt.Sscan(number, &count)
		check(socket.WriteMessage(websocket.TextMessage, []byte(message)))
		for ; count > 0; count-- {
			_, received, err := socket.ReadMessage()
			check(err)
			fmt.Println(string(received))
		}
	}
	check(socket.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")))
	_, _, err = socket.ReadMessage()
	fmt.Println(err.(*websocket.CloseError).Code)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

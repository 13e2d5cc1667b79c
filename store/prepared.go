package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// openPrepared opens a database of SQLite whose connections keep each statement prepared. SQLite
// would otherwise compile a statement each time, which takes longer than to run it. The texts of
// statements are the package's own, so they are few.
func openPrepared(name string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	defer db.Close() // it has no connection
	return sql.OpenDB(connector{db.Driver(), name}), nil
}

type connector struct {
	driver driver.Driver
	name   string
}

func (c connector) Driver() driver.Driver { return c.driver }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	return &prepared{conn.(connection), make(map[string]statement)}, nil
}

// connection is what the driver's connections can do besides running statements.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.SessionResetter
	driver.Validator
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// prepared is a connection with its statements. database/sql uses it from one goroutine at a time.
type prepared struct {
	connection
	statements map[string]statement
}

func (p *prepared) statement(ctx context.Context, text string) (statement, error) {
	if s := p.statements[text]; s != nil {
		return s, nil
	}
	made, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s := made.(statement)
	p.statements[text] = s
	return s, nil
}

// ExecContext runs a statement without rows.
func (p *prepared) ExecContext(ctx context.Context, text string, arguments []driver.NamedValue) (driver.Result, error) {
	s, err := p.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, arguments)
}

// QueryContext runs a statement with rows, which are closed before the next one runs.
func (p *prepared) QueryContext(ctx context.Context, text string, arguments []driver.NamedValue) (driver.Rows, error) {
	s, err := p.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, arguments)
}

// Close ends the statements and the connection, which would otherwise keep the lock of the file.
func (p *prepared) Close() error {
	for _, s := range p.statements {
		s.Close()
	}
	return p.connection.Close()
}
